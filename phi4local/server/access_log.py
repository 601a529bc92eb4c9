"""A line of JSON for each request: who, what, how long, how many tokens. Never a word of anybody's text."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import sys
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from phi4local.engine import Finished
from phi4local.errors import FileWriteError, Phi4LocalError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from phi4local.assistant.events import ConversationEvent
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.errors import ErrorShapes
    from phi4local.server.metrics import Metrics
    from phi4local.server.options import ServerOptions

STANDARD_ERROR = "-"
CLIENT_LEFT = 499
"""nginx's number for a client that hung up; nobody reads it but a log."""


@dataclass(slots=True)
class Record:
    """What one request was, as far as it is known.

    Attributes:
        ended: why each answer did, such as `length`; `left` for a client that went.
        error: the kind of what went wrong.
    """

    model: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    ended: list[str] = field(default_factory=list)
    error: str | None = None


_CURRENT: ContextVar[Record | None] = ContextVar("request", default=None)


def note_model(name: str) -> None:
    """Note which model answers; to be called when it is open, so that no other word of a client is logged."""
    if (record := _CURRENT.get()) is not None:
        record.model = name


def note_prompt(tokens: int) -> None:
    """Note the tokens of texts that are not answered: those of embeddings."""
    if (record := _CURRENT.get()) is not None:
        record.prompt_tokens += tokens


def note_error(error: Phi4LocalError) -> None:
    """Note what kind of error a client gets; its message may have the client's words."""
    if (record := _CURRENT.get()) is not None:
        record.error = type(error).__name__


def note_answer(event: ConversationEvent) -> None:
    """Note the tokens of an answer when it ends, and why it did."""
    record = _CURRENT.get()
    if record is None or not isinstance(event, Finished):
        return
    record.prompt_tokens += event.usage.prompt_tokens
    record.cached_tokens += event.usage.reused_tokens
    record.generated_tokens += event.usage.generated_tokens
    record.ended.append(event.reason)


class AccessLog:
    """Writes lines to a file, or to standard error.

    A line is written with one call, so that lines of several servers do not mix. When the disk is full, lines
    are lost, and requests are answered all the same.

    Args:
        target: a path, or `-`.

    Raises:
        FileWriteError: the file cannot be opened.
    """

    def __init__(self, target: str) -> None:
        self._file: TextIO | None = sys.stderr if target == STANDARD_ERROR else None
        self._number, self._torn = -1, False
        if self._file is None:
            try:
                self._number = os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            except OSError as error:
                problem = (error.strerror or str(error)).lower()
                raise FileWriteError(
                    target, problem, hint="name a file that can be written, or `-`"
                ) from error

    def write(self, line: dict[str, Any]) -> None:
        """Write one line."""
        text = json.dumps(line, ensure_ascii=True) + "\n"
        with contextlib.suppress(OSError, ValueError):  # a full disk, a closed terminal
            if self._file is not None:
                self._file.write(text)
                self._file.flush()
            else:
                data = b"\n" * self._torn + text.encode()
                self._torn = os.write(self._number, data) < len(data)  # the disk was full in the middle

    def close(self) -> None:
        """Close the file."""
        if self._number >= 0:
            os.close(self._number)
            self._number = -1


class Logged:
    """ASGI middleware, the outermost: every request is a line when it ends."""

    def __init__(self, app: ASGIApp, *, options: ServerOptions, shapes: ErrorShapes, pool: ModelPool) -> None:
        del options, shapes, pool
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and write what became of it."""
        log: AccessLog | None = scope["app"].state.access_log if scope["type"] == "http" else None
        if log is None:
            await self._app(scope, receive, send)
            return
        status, sent_bytes, whole, failed, record = 0, 0, False, True, Record()
        began, started = datetime.now(UTC), time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status, sent_bytes, whole
            status = message.get("status", status)
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            sent_bytes += len(message.get("body", b""))
            await send(message)

        token = _CURRENT.set(record)
        try:
            await self._app(scope, receive, noted)
            failed = False
        finally:
            _CURRENT.reset(token)
            if failed:  # what uvicorn and Starlette send then does not come by
                status, record.error = status or 500, record.error or "InternalError"
            elif not whole or status == CLIENT_LEFT:
                record.ended.append("left")
            metrics: Metrics = scope["app"].state.metrics
            log.write(
                {
                    "time": began.isoformat(timespec="milliseconds"),
                    "client": _address(scope),
                    "method": metrics.method_of(scope),
                    "path": metrics.place_of(scope),
                    "status": status,
                    "seconds": round(time.perf_counter() - started, 4),
                    "sent_bytes": sent_bytes,
                    **{name: getattr(record, name) for name in Record.__slots__},
                }
            )


def _address(scope: Scope) -> str | None:
    """Return the client's address. uvicorn believes a proxy of this machine, which may have said anything."""
    client = scope.get("client")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(client[0].partition("%")[0])) if client else None
    return None
