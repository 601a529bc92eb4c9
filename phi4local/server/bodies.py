"""Bodies are JSON here, whatever their header says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_JSON = (b"content-type", b"application/json")


class BodiesAreJson:
    """ASGI middleware: `curl -d` announces a form, and the examples of every dialect leave it at that.

    A browser's page of another origin could do the same; `origins` refuses it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with JSON's own header."""
        if scope["type"] == "http" and scope["method"] in ("POST", "DELETE"):
            others = [(name, value) for name, value in scope["headers"] if name.lower() != b"content-type"]
            scope = {**scope, "headers": [*others, _JSON]}
        await self._app(scope, receive, send)
