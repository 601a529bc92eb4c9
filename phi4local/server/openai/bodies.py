"""What OpenAI's endpoints answer, for the OpenAPI document; `frames`, `completions` and others make it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]


class ErrorDetail(BaseModel):
    """What went wrong; `param` is the field of the request that it is about."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every answer that is no success."""

    error: ErrorDetail


class CachedTokens(BaseModel):
    """How many tokens of the prompt were in the cache."""

    cached_tokens: int


class UsageBody(BaseModel):
    """Exact token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class TokenBody(BaseModel):
    """A token that was likely, and its bytes if it has any."""

    token: str
    logprob: float
    bytes: list[int] | None


class ChosenTokenBody(TokenBody):
    """The token that was chosen, and likely ones."""

    top_logprobs: list[TokenBody]


class ChatLogprobsBody(BaseModel):
    """Natural logarithms of the model's own probabilities, before every setting."""

    content: list[ChosenTokenBody]
    refusal: None


class MessageBody(BaseModel):
    """An answer; `refusal` is what the guard says when it ended the answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChoiceBody(BaseModel):
    """One of the answers."""

    index: int
    message: MessageBody
    logprobs: ChatLogprobsBody | None
    finish_reason: FinishReason


class ChatBody(BaseModel):
    """A whole chat completion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoiceBody]
    usage: UsageBody


class TextLogprobsBody(BaseModel):
    """The same for `/v1/completions`, in the older shape."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoiceBody(BaseModel):
    """One of the continuations."""

    index: int
    text: str
    logprobs: TextLogprobsBody | None
    finish_reason: FinishReason


class TextBody(BaseModel):
    """A whole completion."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoiceBody]
    usage: UsageBody


class VectorBody(BaseModel):
    """One vector: numbers, or float32 in little-endian order as base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsageBody(BaseModel):
    """Token counts of texts."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsBody(BaseModel):
    """All vectors."""

    object: Literal["list"]
    data: list[VectorBody]
    model: str
    usage: EmbeddingUsageBody


class ModelBody(BaseModel):
    """A model that a request can name."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsBody(BaseModel):
    """All models that a request can name."""

    object: Literal["list"]
    data: list[ModelBody]


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be answered; `param` names the field"},
    "5XX": {"model": ErrorBody, "description": "The server failed"},
}


def answers(body: type[BaseModel], *, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint."""
    whole: dict[str, Any] = {"model": body, "description": "The answer"}
    if streams:
        whole["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    return {200: whole, **ERRORS}
