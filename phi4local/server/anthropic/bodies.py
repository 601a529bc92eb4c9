"""What Anthropic's endpoints answer, for the OpenAPI document; `frames` makes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]


class ErrorDetail(BaseModel):
    """What went wrong; the message names the field."""

    type: str
    message: str


class ErrorBody(BaseModel):
    """Every answer that is no success."""

    type: Literal["error"]
    error: ErrorDetail


class UsageBody(BaseModel):
    """Exact token counts; tokens from the cache are not in `input_tokens`."""

    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int


class MessageBody(BaseModel):
    """A whole answer; blocks have the types `text`, `thinking` and `tool_use`."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[dict[str, Any]]
    stop_reason: StopReason
    stop_sequence: str | None
    stop_details: dict[str, Any] | None
    usage: UsageBody


class CountBody(BaseModel):
    """How many tokens a conversation has."""

    input_tokens: int


def answers(body: type[BaseModel], *, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint."""
    whole: dict[str, Any] = {"model": body, "description": "The answer"}
    if streams:
        whole["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    failed = {"model": ErrorBody, "description": "No answer; the message says why"}
    return {200: whole, "4XX": failed, "5XX": failed}
