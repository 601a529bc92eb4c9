"""Errors → HTTP: the status of each class, and the shape of the body in each dialect."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from phi4local import errors
from phi4local.errors import Phi4LocalError
from phi4local.server.access_log import CLIENT_LEFT, note_error
from phi4local.server.replies import ClientLeftError

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

ErrorBody = Callable[[int, str, str | None], Mapping[str, Any]]
"""`error_body(status, message, field)` → the body of a dialect."""

STATUSES: tuple[tuple[type[Phi4LocalError], int], ...] = (
    (errors.EngineBusyError, 429),
    (errors.EngineRestartError, 503),
    (errors.EngineHungError, 504),
    (errors.EngineError, 500),
    (errors.RequestTimeoutError, 504),
    (errors.NotEnoughMemoryError, 503),
    (errors.GpuMissingError, 503),
    (errors.UnknownModelError, 404),
    (errors.ModelNotInstalledError, 404),
    (errors.UnknownQuantizationError, 404),
    (errors.InvalidReferenceError, 404),
    (errors.RemoteNotFoundError, 404),
    (errors.UnknownSessionError, 404),
    (errors.SessionBusyError, 409),
    (errors.OutputExistsError, 409),
    (errors.AmbiguousNameError, 400),
    (errors.UnsafeNameError, 400),
    (errors.ModelfileError, 400),
    (errors.AdapterError, 400),
    (errors.NotEnoughDiskError, 507),
    (errors.FileWriteError, 500),
    (errors.DownloadError, 502),
    (errors.RemoteError, 502),
    (errors.InvalidSettingError, 400),
    (errors.UnsupportedFieldError, 400),
    (errors.ChatTemplateError, 400),
    (errors.ContextTooLongError, 400),
    (errors.ContextFullError, 400),
    (errors.GuardRefusedError, 400),
    (errors.TextTooLongError, 413),
)
"""The first class that fits counts; what is in none of them is the server's own trouble: 500."""
RETRY_AFTER_SECONDS = {429: 1, 503: 10}
CONTEXT = "context"
"""The field of requests that do not fit; OpenAI's clients know it by a code of its own."""
SERVER_FAULT = "the server failed; its log has the reason"


def status_of(error: Phi4LocalError) -> int:
    """Return the HTTP status of an error. Example: `ContextTooLongError` → 400."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def message_of(error: Phi4LocalError) -> str:
    """Return message and hint as one line; a hint about the command line's help is none for a client."""
    hint = error.hint or ""
    return str(error) if not hint or hint.startswith("`--help`") else f"{error} ({hint})"


def field_of(error: Phi4LocalError) -> str | None:
    """Return the field that an error is about, where it says so; `CONTEXT` for what does not fit."""
    if isinstance(error, errors.ContextTooLongError | errors.ContextFullError):
        return CONTEXT
    found = getattr(error, "field", None) or getattr(error, "setting", None)
    return found if isinstance(found, str) else None


def body_for(make: ErrorBody, error: Phi4LocalError) -> dict[str, Any]:
    """Return the body of an error in a dialect, for an answer that has begun."""
    return dict(make(status_of(error), message_of(error), field_of(error)))


class ErrorShapes:
    """Finds the error body of the dialect that a path belongs to: the longest prefix counts.

    Example: `ErrorShapes({"": openai_body, "/api": ollama_body}).body("/api/chat", 404, "no such model")`.
    """

    def __init__(self, bodies: Mapping[str, ErrorBody]) -> None:
        self._bodies = sorted(bodies.items(), key=lambda item: -len(item[0]))

    def body(self, path: str, status: int, message: str, field: str | None = None) -> Mapping[str, Any]:
        """Return the body of an error for a request to `path`."""
        make = next(make for prefix, make in self._bodies if path.startswith(prefix))
        return make(status, message, field)

    def response(
        self,
        path: str,
        status: int,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> JSONResponse:
        """Return the whole answer to a request that failed; for middleware too."""
        message, field = _encodable(message), _encodable(field) if field else field
        retry = RETRY_AFTER_SECONDS.get(status)
        more = {} if retry is None else {"Retry-After": str(retry)}
        return JSONResponse(self.body(path, status, message, field), status, {**more, **(headers or {})})


def _encodable(text: str) -> str:
    r"""Return a text that can be sent: JSON's `"\ud800"` alone is no character."""
    return text.encode("utf-8", "backslashreplace").decode()


def install(app: FastAPI, shapes: ErrorShapes) -> None:
    """Answer every error of an endpoint in the dialect of its path."""

    async def known(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, Phi4LocalError):
            raise error
        note_error(error)
        return shapes.response(request.url.path, status_of(error), message_of(error), field_of(error))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        field, message = _first_problem(error)
        return shapes.response(request.url.path, 400, message, field)

    async def http(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        return shapes.response(request.url.path, error.status_code, str(error.detail), headers=error.headers)

    async def unknown(request: Request, _error: Exception) -> JSONResponse:
        return shapes.response(request.url.path, 500, SERVER_FAULT)

    app.add_exception_handler(Phi4LocalError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(ClientLeftError, _left)
    app.add_exception_handler(Exception, unknown)


async def _left(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_LEFT)


def _first_problem(error: RequestValidationError) -> tuple[str | None, str]:
    """Return field and message of what is wrong: of several ways to read a value, the one that went furthest.

    Example: `("messages[0].role", "`messages[0].role`: Field required")`.
    """
    problem = max(error.errors(), key=lambda one: len(one["loc"]))
    place = [part for part in problem["loc"][1:] if isinstance(part, int) or not _WAY_TO_READ.search(part)]
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if problem["type"] == "json_invalid":
        return None, "the body is no JSON"
    if problem["type"] == "union_tag_invalid":
        kind = problem["ctx"]["tag"]
        return (
            f"{field}.type",
            f"`{field}.type` is {kind!r}, which is not known here; docs/serve.md lists what is",
        )
    if problem["type"] == "extra_forbidden":
        return field, f"`{field}` is not known here; docs/serve.md lists what is"
    return field or None, f"`{field or 'body'}`: {problem['msg']}"


_WAY_TO_READ = re.compile(r"^(str|int|float|bool)$|[\[(-]|^[A-Z]")
"""What pydantic puts into a place for each member of a union, such as `list[TextPart]`."""
