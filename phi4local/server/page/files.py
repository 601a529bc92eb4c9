"""The page's files, as they were installed, and the headers that let the page ask nobody but this server."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from phi4local.server.ollama import greeting

router = APIRouter(include_in_schema=False)

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""No inline script, no other origin, and no way to turn text into markup (Trusted Types)."""
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


@functools.cache
def contents() -> dict[str, bytes]:
    """Return the page's files by name; nothing else can be asked for, whatever the address says."""
    folder = resources.files("phi4local.server.page") / "static"
    return {file.name: file.read_bytes() for file in folder.iterdir() if _suffix(file.name) in _TYPES}


@router.api_route("/", methods=["GET", "HEAD"])
async def root(request: Request) -> Response:
    """Answer browsers, which ask for text/html, with the page, and everybody else as Ollama does."""
    is_browser = "text/html" in request.headers.get("accept", "")
    answer = _file(request, "index.html") if is_browser else greeting()
    answer.headers["Vary"] = "Accept"
    return answer


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def file(request: Request, name: str) -> Response:
    """Return one of the page's files."""
    if name not in contents():
        raise HTTPException(404, "the page has no such file")
    return _file(request, name)


def _file(request: Request, name: str) -> Response:
    data = contents()[name]
    tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    headers = {**HEADERS, "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type=_TYPES[_suffix(name)], headers=headers)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]
