"""How much a request may send, and how slowly."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from phi4local.runtime.pool import ModelPool
    from phi4local.server.errors import ErrorShapes
    from phi4local.server.options import ServerOptions


_CLOSED = {"Connection": "close"}
"""Without it the rest of the body would be read and thrown away, to use the connection again."""
SLOWEST_BYTES_PER_SECOND = 16_384
"""Who sends so much never runs out of time."""


class BodyLimit:
    """ASGI middleware that refuses long bodies, at once when they announce it, and bodies that drip.

    What is left of a refused body is not read: the connection is closed.
    """

    def __init__(self, app: ASGIApp, *, options: ServerOptions, shapes: ErrorShapes, pool: ModelPool) -> None:
        del pool
        self._app = app
        self._most = options.most_body_bytes
        self._seconds = options.client_seconds
        self._shapes = shapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _announced(scope) > self._most:
            await self._shapes.response(scope["path"], 413, self._message, headers=_CLOSED)(
                scope, receive, send
            )
            return
        body = _Body(receive, self._seconds)

        async def counted() -> Message:
            message = await body.receive()
            if body.received_bytes > self._most:
                raise HTTPException(413, self._message, headers=_CLOSED)
            return message

        await self._app(scope, counted, send)

    @property
    def _message(self) -> str:
        return f"the request has more than {self._most:,} bytes"


class _Body:
    """Receives the parts of a body, and counts its bytes and its time.

    Example: with 30 seconds, a body of 1 MB may take 30 + 64 seconds.
    """

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self._began = time.monotonic()
        self._whole = False
        self.received_bytes = 0

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            HTTPException: the client takes too long.
        """
        if self._whole:  # what comes now is that it left
            return await self._receive()
        allowed = self._seconds + self.received_bytes / SLOWEST_BYTES_PER_SECOND
        left = allowed - (time.monotonic() - self._began)
        try:
            async with asyncio.timeout(max(left, 0)):
                message = await self._receive()
        except TimeoutError as error:
            told = f"the request's body did not come within {allowed:.0f} seconds"
            raise HTTPException(408, told, headers=_CLOSED) from error
        self.received_bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        return message


def _announced(scope: Scope) -> int:
    """Return the length that a request announces, 0 for none; what is no number the HTTP parser refuses."""
    found = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(found[:19]) if found.isdigit() else 0
