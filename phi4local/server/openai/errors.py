"""The shape of errors that OpenAI's clients read."""

from __future__ import annotations

from typing import Any

from phi4local.server.errors import CONTEXT

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}

_FIELDS = {"json_schema": "response_format.json_schema", CONTEXT: "messages"}
"""Settings whose field has another name here."""
_CODES = {CONTEXT: "context_length_exceeded"}


def error_body(status: int, message: str, field: str | None) -> dict[str, Any]:
    """Return the body of an error.

    Example: `error_body(400, "no", "top_p")` → `{"error": {"message": "no", "type": "invalid_request_error",
    "param": "top_p", "code": None}}`.
    """
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    code = {401: "invalid_api_key", 404: "not_found", 429: "rate_limit_exceeded"}.get(status)
    code = _CODES.get(field or "", code)
    return {
        "error": {"message": message, "type": kind, "param": _FIELDS.get(field or "", field), "code": code}
    }
