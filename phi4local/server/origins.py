"""Which names and which pages may ask: a browser asks any server for any page that it shows.

A page of another site can send requests to this machine (CSRF), and a name that its owner points at 127.0.0.1
makes the server look like a part of that site (DNS rebinding). So a request must name a host that belongs to
this machine, and a page must be one that a person allowed, or one of this machine.

Source: the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol), and what befell Ollama
(CVE-2024-28224, DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from phi4local.server.options import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from phi4local.runtime.pool import ModelPool
    from phi4local.server.errors import ErrorShapes
    from phi4local.server.options import ServerOptions

_HOST = re.compile(rb"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?", re.IGNORECASE)
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?", re.IGNORECASE
)
_METHODS = b"GET, POST, DELETE, OPTIONS, HEAD"
_KEPT_SECONDS = b"600"
_OWN_PAGE = "/page-api/"
"""Kept conversations are for this server's own page: other pages of this machine get answers only."""
_FOREIGN = (b"cross-site", b"same-site")
"""Values of Sec-Fetch-Site for requests that another site's page caused."""


class KnownCallers:
    """ASGI middleware that refuses foreign names and pages, and answers what browsers ask before a request.

    A host fits when it is an address (nobody can point that elsewhere), `localhost`, the name that the
    server listens on, or one of `allowed_hosts`. An origin fits when it is this server, a page of this
    machine, or one of `allowed_origins`; `*` there allows every page.
    """

    def __init__(self, app: ASGIApp, *, options: ServerOptions, shapes: ErrorShapes, pool: ModelPool) -> None:
        del pool
        self._app = app
        self._shapes = shapes
        self._hosts = frozenset(name.lower().rstrip(".") for name in (options.host, *options.allowed_hosts))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in options.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, answer it, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = scope["headers"]
        problem = self._problem(scope["path"], headers)
        if problem is not None:
            await self._shapes.response(scope["path"], 403, problem)(scope, receive, send)
            return
        origin = _last(headers, b"origin")
        if origin is None:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and _last(headers, b"access-control-request-method") is not None:
            await send({"type": "http.response.start", "status": 204, "headers": _preflight(origin, headers)})
            await send({"type": "http.response.body"})
        else:
            await self._app(scope, receive, _telling(send, origin))

    def _problem(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Say why a request is refused, or return `None`."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            shown = hosts[0].decode("ascii", "backslashreplace")[:80] if hosts else ""
            return f"the header `Host: {shown}` names no host of this server; `--allow-host` adds one"
        origins = [value for name, value in headers if name == b"origin"]
        if not origins:
            foreign = _last(headers, b"sec-fetch-site") in _FOREIGN
            if foreign and _last(headers, b"sec-fetch-mode") != b"navigate":
                return "the header `Sec-Fetch-Site` says that a page of another site asks"
            return None
        own = path.startswith(_OWN_PAGE)
        if len(origins) != 1 or not (_same(origins[0], hosts[0]) if own else self._may_ask(*origins, *hosts)):
            shown = origins[0].decode("ascii", "backslashreplace")[:80]
            return f"the header `Origin: {shown}` names a page that may not ask; `--allow-origin` allows one"
        return None

    def _is_ours(self, host: bytes) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].decode().lower().rstrip(".")
        return _is_address(name) or is_loopback(name) or name.endswith(".localhost") or name in self._hosts

    def _may_ask(self, origin: bytes, host: bytes) -> bool:
        text = origin.decode("ascii", "replace").lower()
        if "*" in self._origins or text in self._origins:
            return True
        found = _ORIGIN.fullmatch(text)
        if found is None:
            return False
        return _same(origin, host) or is_loopback(found["host"])


def _same(origin: bytes, host: bytes) -> bool:
    """Return whether a page is this server's own. Example: `http://localhost:8004` and `localhost:8004`."""
    scheme, _, place = origin.lower().partition(b"://")
    return scheme in (b"http", b"https") and place == host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _last(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in reversed(list(headers)) if name == wanted), None)


def _preflight(origin: bytes, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the answer to what a browser asks before it lets a page send."""
    answer = [
        (b"access-control-allow-origin", origin),
        (b"vary", b"Origin"),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-max-age", _KEPT_SECONDS),
    ]
    if wanted := _last(headers, b"access-control-request-headers"):
        answer.append((b"access-control-allow-headers", wanted))
    if _last(headers, b"access-control-request-private-network") == b"true":
        answer.append((b"access-control-allow-private-network", b"true"))
    return answer


def _telling(send: Send, origin: bytes) -> Send:
    """Return a `send` that lets the page read the answer."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            more = [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return told
