"""Who may ask: a request brings one of the server's keys, where it has any."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from phi4local.runtime.pool import ModelPool
    from phi4local.server.errors import ErrorShapes
    from phi4local.server.options import ServerOptions

OPEN_PATHS = ("/health", "/", "/phi4local/hello")
"""What a load balancer and a browser ask, without a key; it tells nothing about anybody's text."""
OPEN_FOLDER = "/page/"
"""The page's files: a browser cannot send a key for them, and the page asks the person for it."""
_KEY_HEADERS = (b"authorization", b"x-api-key")
"""OpenAI's and Ollama's clients send `Authorization: Bearer KEY`, Anthropic's send `x-api-key: KEY`."""


class KeyRequired:
    """ASGI middleware that refuses requests without a key."""

    def __init__(self, app: ASGIApp, *, options: ServerOptions, shapes: ErrorShapes, pool: ModelPool) -> None:
        del pool
        self._app = app
        own = (options.owner_token,) if options.api_keys and options.owner_token else ()
        self._keys = tuple(key.encode() for key in (*options.api_keys, *own))
        self._shapes = shapes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it."""
        if scope["type"] != "http" or not self._keys or _is_open(scope["path"]) or self._fits(scope):
            await self._app(scope, receive, send)
            return
        message = "a key is needed: `Authorization: Bearer KEY`; the one that was sent is none, or is wrong"
        headers = {"WWW-Authenticate": "Bearer"}
        await self._shapes.response(scope["path"], 401, message, headers=headers)(scope, receive, send)

    def _fits(self, scope: Scope) -> bool:
        return is_one_of(scope["headers"], self._keys)


def is_one_of(headers: Iterable[tuple[bytes, bytes]], known: Iterable[bytes]) -> bool:
    """Return whether the headers of a request bring one of the known keys."""
    sent = [value for name, value in headers if name in _KEY_HEADERS]
    keys = [value[7:] if value[:7].lower() == b"bearer " else value for value in sent]
    return any(hmac.compare_digest(key, one) for one in known for key in keys)


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDER)
