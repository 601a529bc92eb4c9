"""What `/v1/responses` answers, for the OpenAPI document; `responses` makes it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class InputDetails(BaseModel):
    """How many tokens of the prompt were in the cache."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(BaseModel):
    """How many tokens were thoughts."""

    reasoning_tokens: int


class ResponseUsageBody(BaseModel):
    """Exact token counts."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class IncompleteBody(BaseModel):
    """Why an answer ended early."""

    reason: Literal["max_output_tokens", "content_filter"]


class ResponseErrorBody(BaseModel):
    """What went wrong in the middle of an answer."""

    code: str
    message: str


class ItemBody(BaseModel):
    """Words (`message`), a call of a tool (`function_call`), or what a model thought (`reasoning`)."""

    id: str
    type: Literal["message", "function_call", "reasoning"]
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] | None = None
    content: list[dict[str, Any]] | None = None
    summary: list[dict[str, Any]] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class ResponseBody(BaseModel):
    """A whole answer, and what it repeats of its request."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: ResponseErrorBody | None
    incomplete_details: IncompleteBody | None
    model: str
    output: list[ItemBody]
    usage: ResponseUsageBody | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: dict[str, Any]
    store: bool
    temperature: float | None
    text: dict[str, Any]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float | None
    truncation: Literal["auto", "disabled"]


class InputTokensBody(BaseModel):
    """A count of tokens."""

    object: Literal["response.input_tokens"]
    input_tokens: int
