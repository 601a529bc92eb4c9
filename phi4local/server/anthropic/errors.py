"""The shape of errors that Anthropic's clients read."""

from __future__ import annotations

from typing import Any

from phi4local.server.errors import CONTEXT

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_body(status: int, message: str, field: str | None) -> dict[str, Any]:
    """Return the body of an error; the message names the field.

    Example: `error_body(404, "no such model", None)` →
    `{"type": "error", "error": {"type": "not_found_error", "message": "no such model"}}`.
    """
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    if field == CONTEXT:  # this dialect has no codes; programs know the words
        message, field = f"prompt is too long: {message}", None
    told = message if field is None or field in message else f"{field}: {message}"
    return {"type": "error", "error": {"type": kind, "message": told}}
