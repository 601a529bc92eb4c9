"""How much a request may send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from phi4local.runtime.pool import ModelPool
    from phi4local.server.errors import ErrorShapes
    from phi4local.server.options import ServerOptions


_CLOSED = {"Connection": "close"}
"""Without it the rest of the body would be read and thrown away, to use the connection again."""


class BodyLimit:
    """ASGI middleware that refuses long bodies: at once when they announce it, else where the limit is.

    What is left of a refused body is not read: the connection is closed.
    """

    def __init__(self, app: ASGIApp, *, options: ServerOptions, shapes: ErrorShapes, pool: ModelPool) -> None:
        del pool
        self._app = app
        self._most = options.most_body_bytes
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
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise HTTPException(413, self._message, headers=_CLOSED)
            return message

        await self._app(scope, counted, send)

    @property
    def _message(self) -> str:
        return f"the request has more than {self._most:,} bytes"


def _announced(scope: Scope) -> int:
    """Return the length that a request announces, 0 for none; what is no number the HTTP parser refuses."""
    found = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(found[:19]) if found.isdigit() else 0
