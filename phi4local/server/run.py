"""Listen, answer, and stop without cutting anybody off."""

from __future__ import annotations

import contextlib
import logging
import socket
from typing import TYPE_CHECKING

import uvicorn

from phi4local.errors import AddressInUseError
from phi4local.server.app import make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phi4local.assistant.guard.guard import Guard
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.options import ServerOptions


def serve(
    pool: ModelPool,
    options: ServerOptions,
    *,
    guard: Guard | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> bool:
    """Serve until told to stop; return whether it ended by itself, with every answer finished or cut in time.

    The first Ctrl-C or SIGTERM lets running answers go on for `stop_seconds`; the second ends at once.

    Args:
        pool: models that answer; closed at the end.
        options: where to listen and whom to answer.
        guard: checks what comes and goes, or `None`.
        tell: takes lines for a person.

    Raises:
        AddressInUseError: somebody else listens there.
    """
    with contextlib.closing(listening_socket(options)) as listener:
        server = _Server(_config(pool, options, guard))
        tell(f"listening on {address_of(options, listener)}")
        server.run(sockets=[listener])
    return not server.force_exit


def listening_socket(options: ServerOptions) -> socket.socket:
    """Return a socket on which connections can be made already.

    Raises:
        AddressInUseError: the operating system refused.
    """
    try:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        return socket.create_server((options.host.strip("[]"), options.port), family=family, backlog=2048)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise AddressInUseError(options.host, options.port, problem) from error


def address_of(options: ServerOptions, listener: socket.socket) -> str:
    """Return what a person types into a client. Example: `http://127.0.0.1:8004`."""
    port = listener.getsockname()[1]
    scheme = "https" if options.certificate else "http"
    return f"{scheme}://{f'[{options.host}]' if ':' in options.host else options.host}:{port}"


def _config(pool: ModelPool, options: ServerOptions, guard: Guard | None) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(pool, options, guard=guard),
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(options.stop_seconds)),
        ssl_certfile=options.certificate,
        ssl_keyfile=options.certificate_key,
    )


class _Server(uvicorn.Server):
    """Stops on signals, and returns then: uvicorn's own raises them again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()
