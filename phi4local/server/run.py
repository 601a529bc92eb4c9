"""Listen, answer, and stop without cutting anybody off."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from phi4local.errors import AddressInUseError, FileWriteError, InvalidSettingError
from phi4local.runtime.remote.records import ServerRecord, announced
from phi4local.server.app import make_app
from phi4local.server.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from fastapi import FastAPI

    from phi4local.assistant.guard.guard import Guard
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.options import ServerOptions

BACKLOG = 2048
"""Connections that may wait to be accepted."""
UNREAD_BYTES = 262_144
"""What the system keeps for a client that does not read; left alone, it takes 4 MB for each."""


def serve(
    pool: ModelPool,
    options: ServerOptions,
    listener: socket.socket,
    *,
    guard: Guard | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> bool:
    """Serve until told to stop; return whether every answer ended by itself or was cut in time.

    The first Ctrl-C or SIGTERM lets running answers go on for `stop_seconds`; the second ends at once.

    Args:
        pool: models that answer; closed at the end.
        options: whom to answer.
        listener: from `listening_socket`; closed at the end.
        guard: checks what comes and goes, or `None`.
        tell: takes lines for a person.
    """
    loaded = pool.loaded()
    record = _record(options, listener, model=loaded[0].name if loaded else "")
    app = make_app(pool, replace(options, owner_token=record.token), guard=guard)
    server = _Server(_config(app, options), tell, Patience(options.client_seconds))
    app.state.stop = server.stop
    with contextlib.ExitStack() as kept:
        try:
            kept.enter_context(announced(record))
        except FileWriteError as error:
            tell(f"note: `phi4local ps` will not know this server: {error}")
        tell(f"listening on {address_of(options, listener)}")
        server.run(sockets=[listener])
    return not server.force_exit


def listening_socket(options: ServerOptions) -> socket.socket:
    """Return a socket on which connections can be made already.

    Raises:
        AddressInUseError: the operating system refused.
    """
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # With the protocol named, asyncio sends at once on every connection; without it, each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # on Windows it would let two servers have the same port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        listener.bind((options.host.strip("[]"), options.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        problem = (error.strerror or str(error)).lower()
        raise AddressInUseError(options.host, options.port, problem) from error
    return listener


def check_certificate(options: ServerOptions) -> None:
    """Refuse a certificate that cannot be used, before anything is loaded.

    Raises:
        InvalidSettingError: a file that is missing or no PEM, or a key of another one or with a password.
    """
    if options.certificate is None:
        return
    try:
        chain = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chain.load_cert_chain(options.certificate, options.certificate_key, password="")
    except OSError as error:  # ssl.SSLError is one
        problem = (error.strerror or str(error)).lower()
        raise InvalidSettingError(
            "certificate", f"cannot be used: {problem}", hint="give PEM files of a certificate and of its key"
        ) from error


def address_of(options: ServerOptions, listener: socket.socket) -> str:
    """Return what a person types into a client. Example: `http://127.0.0.1:8004`."""
    port = listener.getsockname()[1]
    scheme = "https" if options.certificate else "http"
    return f"{scheme}://{f'[{options.host}]' if ':' in options.host else options.host}:{port}"


def _record(options: ServerOptions, listener: socket.socket, *, model: str) -> ServerRecord:
    """Return what programs of this machine need to find the server."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host.strip("[]"), options.host)  # noqa: S104
    digest = None
    if options.certificate is not None:
        text = Path(options.certificate).read_text(encoding="utf-8")
        begin = text.index(ssl.PEM_HEADER)
        end = text.index(ssl.PEM_FOOTER, begin) + len(ssl.PEM_FOOTER)
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[begin:end])).hexdigest()
    return ServerRecord(
        address=address_of(replace(options, host=near), listener),
        model=model,
        needs_key=bool(options.api_keys),
        certificate_sha256=digest,
    )


def _config(app: FastAPI, options: ServerOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",  # whose states `patience` reads, whatever else is installed
        ws="none",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(options.stop_seconds)),
        ssl_certfile=options.certificate,
        ssl_keyfile=options.certificate_key,
    )


class _Server(uvicorn.Server):
    """Stops on signals, says so, and returns then: uvicorn's own raises them again."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[str], None], patience: Patience) -> None:
        super().__init__(config)
        self._tell = tell
        self._patience = patience
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Stop as on the first Ctrl-C."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Hang up, twice a second, on clients that do nothing; uvicorn comes ten times a second."""
        if counter % 5 == 0:
            for late in list(self._patience.late(self.server_state.connections, time.monotonic())):
                late.transport.abort()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's
        """Stop at the first signal; hang up at the second."""
        self.force_exit = self.should_exit
        self.should_exit = True
        if self.force_exit and self._loop is not None:
            self._loop.call_soon_threadsafe(self._hang_up)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as uvicorn does; a person is told when somebody still waits for an answer."""
        running = len(self.server_state.tasks)
        if running and not self.force_exit:
            who = "1 answer has" if running == 1 else f"{running} answers have"
            seconds = self.config.timeout_graceful_shutdown
            self._tell(f"stopping: {who} {seconds} seconds to end; Ctrl-C again ends at once")
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()  # uvicorn leaves it out then, and the engines would stay a while

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
