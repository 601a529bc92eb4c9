"""What Ollama's endpoints answer, for the OpenAPI document; `frames`, `records` and `changes` make it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

NDJSON = "application/x-ndjson"


class ErrorBody(BaseModel):
    """Every answer that is no success; the text names the field of the request that it is about."""

    error: str


class VersionBody(BaseModel):
    """The version of Ollama's interface that is spoken, and that of the program which speaks it."""

    version: str
    phi4local: str


class DetailsBody(BaseModel):
    """What kind of model it is."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class TagBody(BaseModel):
    """A model that a request can name; sizes in bytes."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: DetailsBody


class TagsBody(BaseModel):
    """All of them."""

    models: list[TagBody]


class RunningBody(BaseModel):
    """A model in memory."""

    name: str
    model: str
    size: int
    digest: str
    details: DetailsBody
    expires_at: str
    size_vram: int
    context_length: int


class ProcessesBody(BaseModel):
    """All of them."""

    models: list[RunningBody]


class ShowBody(BaseModel):
    """What a model is; `model_info` holds the keys of its file's header."""

    model_config = ConfigDict(protected_namespaces=())

    license: str
    modelfile: str
    parameters: str
    template: str
    system: str
    messages: list[dict[str, str]]
    details: DetailsBody
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    tensors: list[dict[str, Any]] | None = None


class TokenBody(BaseModel):
    """A token that was likely."""

    token: str
    logprob: float
    bytes: list[int] | None


class LogprobBody(TokenBody):
    """The token that was chosen, and likely ones."""

    top_logprobs: list[TokenBody]


class AnswerBody(BaseModel):
    """What both kinds of answer have; durations in nanoseconds."""

    model: str
    created_at: str
    done: bool
    done_reason: Literal["stop", "length", "load", "unload", "content_filter"] | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    logprobs: list[LogprobBody] | None = None


class MessageBody(BaseModel):
    """What the model said."""

    role: Literal["assistant"]
    content: str
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatBody(AnswerBody):
    """An answer of `/api/chat`."""

    message: MessageBody


class GenerateBody(AnswerBody):
    """An answer of `/api/generate`."""

    response: str
    thinking: str | None = None


class EmbedBody(BaseModel):
    """Vectors of length 1."""

    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class EmbeddingBody(BaseModel):
    """One vector."""

    embedding: list[float]


class StatusBody(BaseModel):
    """How far something is, in bytes."""

    status: str
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "The request cannot be answered"},
    "5XX": {"model": ErrorBody, "description": "The server failed"},
}
NOTHING: dict[int | str, dict[str, Any]] = {200: {"description": "Done", "content": {}}, **ERRORS}


def answers(body: type[BaseModel], *, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of an endpoint."""
    whole: dict[str, Any] = {"model": body, "description": "The answer"}
    if streams:
        whole["content"] = {NDJSON: {"schema": {"type": "string"}}}
    return {200: whole, **ERRORS}
