"""What OpenAI's clients send to `/v1/chat/completions`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from phi4local.assistant.tools import result_text
from phi4local.errors import UnsupportedFieldError
from phi4local.messages import Message, Role
from phi4local.server.openai.strict import Sampling, require_count
from phi4local.server.openai.tools import ToolCalled, ToolChoice, ToolTold, tool_use
from phi4local.server.strict import Strict
from phi4local.server.task import Task

MOST_ANSWERS = 16
"""Answers of one request; each takes a place that somebody else could have."""
MOST_ALTERNATIVES = 20
"""OpenAI's limit of `top_logprobs`."""


class TextPart(Strict):
    """A piece of text; models of this family read nothing else."""

    type: Literal["text"]
    text: str


class ChatMessage(Strict):
    """One turn of a conversation.

    A thought that comes back with an answer is left out: models of this family do not see theirs again.
    """

    without_effect: ClassVar[tuple[str, ...]] = ("name", "refusal", "reasoning_content")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCalled] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None

    def text(self) -> str:
        """Return what is said, calls of tools included.

        Raises:
            UnsupportedFieldError: nothing is.
        """
        said = self.content
        text = said if isinstance(said, str) else "".join(part.text for part in said or ())
        if said is None and not self.tool_calls:
            raise UnsupportedFieldError("messages.content", "is missing")
        return "\n".join([*([text] if text else []), *(call.text() for call in self.tool_calls or ())])


def as_messages(turns: list[ChatMessage]) -> tuple[Message, ...]:
    """Return a conversation as the rest of the house knows it; results of tools are a person's message.

    Raises:
        UnsupportedFieldError: a result of a call that nobody made, or a turn without content.
    """
    found: list[Message] = []
    names: dict[str, str] = {}
    for turn in turns:
        names |= {call.id: call.function.name for call in turn.tool_calls or ()}
        if turn.role == "tool":
            name = names.get(turn.tool_call_id or "")
            if name is None:
                raise UnsupportedFieldError("messages.tool_call_id", "is that of no call before it")
            result = result_text(name, turn.text())
            if found and found[-1].role == "user":  # results of one answer's calls are one message
                result = f"{found.pop().content}\n{result}"
            found.append(Message("user", result))
            continue
        role: Role = "system" if turn.role == "developer" else turn.role
        found.append(Message(role, turn.text()))
    return tuple(found)


class StreamOptions(Strict):
    """How frames are sent."""

    without_effect: ClassVar[tuple[str, ...]] = ("include_obfuscation",)

    include_usage: bool = False
    include_obfuscation: bool | None = None


class SchemaFormat(Strict):
    """A JSON schema, and what it is called."""

    without_effect: ClassVar[tuple[str, ...]] = ("name", "description")

    name: str | None = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class ResponseFormat(Strict):
    """What the answer has to be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaFormat | None = None

    def structure(self) -> dict[str, Any]:
        """Return the fields of `SamplingSettings` that make it so.

        Raises:
            UnsupportedFieldError: a schema without its type, or the other way round.
        """
        if (self.json_schema is None) != (self.type != "json_schema"):
            raise UnsupportedFieldError(
                "response_format.json_schema", f"does not go with the type {self.type!r}"
            )
        if self.type == "text":
            return {}
        schema = self.json_schema.schema_ if self.json_schema else None
        return {"json_schema": {"type": "object"} if schema is None else schema}


class ChatRequest(Sampling):
    """A request to `/v1/chat/completions`."""

    without_effect: ClassVar[tuple[str, ...]] = (
        *("user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "reasoning_effort", "verbosity"),
    )

    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    response_format: ResponseFormat | None = None
    tools: list[ToolTold] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: Literal[False] | None = None
    modalities: list[Literal["text"]] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None

    def as_task(self) -> Task:
        """Return what is to be done.

        Raises:
            InvalidSettingError, UnsupportedFieldError: a value that cannot be.
        """
        if self.stream_options is not None and not self.stream:
            raise UnsupportedFieldError("stream_options", "needs `stream`")
        structure = self.response_format.structure() if self.response_format else {}
        use = tool_use(self.tools, self.tool_choice, several=self.parallel_tool_calls)
        if use is not None and (structure or self.regex or self.grammar):
            raise UnsupportedFieldError("tools", "do not go with another structure of the answer")
        return Task(
            model=self.model,
            prompt=as_messages(self.messages),
            tool_use=use,
            sampling=self.settings(logprobs=self._alternatives(), **structure),
            max_tokens=self._most_tokens(),
            answers=require_count("n", self.n, MOST_ANSWERS),
        )

    def ignored(self) -> tuple[str, ...]:
        """Return the fields that were sent and have no effect, those of messages too."""
        inner = [
            f"{place}.{name}"
            for place, part in [
                *((f"messages[{number}]", message) for number, message in enumerate(self.messages)),
                ("stream_options", self.stream_options or StreamOptions()),
            ]
            for name in part.ignored()
        ]
        return (*super().ignored(), *inner)

    def _alternatives(self) -> int | None:
        if self.top_logprobs is not None and not self.logprobs:
            raise UnsupportedFieldError("top_logprobs", "needs `logprobs`")
        if not 0 <= (self.top_logprobs or 0) <= MOST_ALTERNATIVES:
            raise UnsupportedFieldError(
                "top_logprobs", f"is {self.top_logprobs}; {MOST_ALTERNATIVES} are the most"
            )
        return (self.top_logprobs or 0) if self.logprobs else None

    def _most_tokens(self) -> int | None:
        given = {n for n in (self.max_tokens, self.max_completion_tokens) if n is not None}
        if len(given) > 1:
            raise UnsupportedFieldError("max_tokens", "is not what `max_completion_tokens` says")
        return given.pop() if given else None
