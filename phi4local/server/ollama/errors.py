"""The shape of errors that Ollama's clients read."""

from __future__ import annotations

from typing import Any


def error_body(status: int, message: str, field: str | None) -> dict[str, Any]:
    """Return the body of an error; the message names the field.

    Example: `error_body(404, "no such model", None)` → `{"error": "no such model"}`.
    """
    del status
    return {"error": message if field is None or field in message else f"`{field}`: {message}"}
