"""What OpenAI's clients send to `/v1/responses`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from phi4local.assistant.tools import ToolUse
from phi4local.errors import UnsupportedFieldError
from phi4local.server.openai.requests import MOST_ALTERNATIVES, SchemaFormat
from phi4local.server.openai.responses.items import Item, as_messages
from phi4local.server.openai.strict import Sampling
from phi4local.server.openai.tools import FunctionNamed, FunctionTold, ToolNamed, ToolTold, tool_use
from phi4local.server.strict import Strict
from phi4local.server.task import Task

LOGPROBS = "message.output_text.logprobs"
"""The entry of `include` that asks for log-probabilities."""


class FlatTool(FunctionTold):
    """One of `tools`; there are functions only."""

    type: Literal["function"]

    def as_told(self) -> ToolTold:
        """Return it as `/v1/chat/completions` has it."""
        inside = {name: getattr(self, name) for name in FunctionTold.model_fields}
        return ToolTold(type="function", function=FunctionTold(**inside))


class FlatNamed(Strict):
    """A tool by its name."""

    type: Literal["function"]
    name: str


class AllowedTools(Strict):
    """Some of the tools, for this answer."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[FlatNamed]


class TextFormat(SchemaFormat):
    """What the answer has to be, a schema's own fields beside its type."""

    type: Literal["text", "json_object", "json_schema"] = "text"

    def structure(self) -> dict[str, Any]:
        """Return the fields of `SamplingSettings` that make it so.

        Raises:
            UnsupportedFieldError: a type without its schema, or the other way round.
        """
        if (self.schema_ is None) != (self.type != "json_schema"):
            raise UnsupportedFieldError("text.format.schema", f"does not go with the type {self.type!r}")
        if self.type == "text":
            return {}
        return {"json_schema": {"type": "object"} if self.schema_ is None else self.schema_}


class TextOptions(Strict):
    """How the answer is written."""

    without_effect: ClassVar[tuple[str, ...]] = ("verbosity",)

    format: TextFormat | None = None
    verbosity: str | None = None


class ResponseStreamOptions(Strict):
    """How frames are sent."""

    without_effect: ClassVar[tuple[str, ...]] = ("include_obfuscation",)

    include_obfuscation: bool | None = None


class ResponseTalk(Strict):
    """A conversation, as `/v1/responses` and its counting of tokens read it."""

    model: str
    input: str | list[Item]
    instructions: str | None = None
    tools: list[FlatTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | FlatNamed | AllowedTools | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None

    def tool_use(self) -> ToolUse | None:
        """Return what is said about tools, or `None` when nothing is to be called.

        Raises:
            UnsupportedFieldError, InvalidSettingError: as `tools.tool_use`.
        """
        tools, choice = [tool.as_told() for tool in self.tools or ()], self.tool_choice
        several = self.parallel_tool_calls
        if isinstance(choice, FlatNamed):
            named = ToolNamed(type="function", function=FunctionNamed(name=choice.name))
            return tool_use(tools, named, several=several)
        if not isinstance(choice, AllowedTools):
            return tool_use(tools, choice, several=several)
        allowed = {tool.name for tool in choice.tools}
        if unknown := allowed - {tool.function.name for tool in tools}:
            raise UnsupportedFieldError("tool_choice", f"allows {min(unknown)!r}, which is none of the tools")
        chosen = [tool for tool in tools if tool.function.name in allowed]
        return tool_use(chosen, choice.mode, several=several)

    def counted(self) -> Task:
        """Return what is to be counted.

        Raises:
            UnsupportedFieldError: nothing is asked, or a result of a call that nobody made.
            InvalidSettingError: as `tool_use`.
        """
        prompt = as_messages(self.instructions, self.input)
        return Task(model=self.model, prompt=prompt, tool_use=self.tool_use())


NOTHING_IS_KEPT = "send the whole conversation as `input`: answers are not kept on this server"
REFUSED = {
    "store": NOTHING_IS_KEPT,
    "previous_response_id": NOTHING_IS_KEPT,
    "conversation": NOTHING_IS_KEPT,
    "prompt": "send the text itself; there are no prompts on this server",
    "background": "leave it out, and keep the connection until the answer is there",
}
"""Fields of OpenAI's own service, which may be sent empty, and what to do instead."""


class ResponseRequest(ResponseTalk, Sampling):
    """A request to `/v1/responses`."""

    without_effect: ClassVar[tuple[str, ...]] = (
        *("user", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "reasoning", "max_tool_calls", "truncation"),
    )

    include: list[str] | None = None
    max_output_tokens: int | None = None
    top_logprobs: int | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_tool_calls: int | None = None
    user: str | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None

    def as_task(self) -> Task:
        """Return what is to be done.

        Raises:
            InvalidSettingError, UnsupportedFieldError: a value that cannot be.
        """
        for name, hint in REFUSED.items():
            if getattr(self, name):
                raise UnsupportedFieldError(name, "is not known here", hint=hint)
        if self.stream_options is not None and not self.stream:
            raise UnsupportedFieldError("stream_options", "needs `stream`")
        wanted = self.text.format if self.text else None
        structure = wanted.structure() if wanted else {}
        use = self.tool_use()
        if use is not None and (structure or self.regex or self.grammar):
            raise UnsupportedFieldError("tools", "do not go with another structure of the answer")
        return Task(
            model=self.model,
            prompt=as_messages(self.instructions, self.input),
            tool_use=use,
            sampling=self.settings(logprobs=self.alternatives(), **structure),
            max_tokens=self.max_output_tokens,
        )

    def alternatives(self) -> int | None:
        """Return how many likely tokens are told beside each one; `None` for no log-probabilities.

        Raises:
            UnsupportedFieldError: another entry of `include`, or too many.
        """
        for name in self.include or ():
            if name not in (LOGPROBS, "reasoning.encrypted_content"):
                raise UnsupportedFieldError("include", f"has {name!r}, which no answer has here")
        most = self.top_logprobs or 0
        if not 0 <= most <= MOST_ALTERNATIVES:
            raise UnsupportedFieldError("top_logprobs", f"is {most}; {MOST_ALTERNATIVES} are the most")
        return most if most or LOGPROBS in (self.include or ()) else None

    def ignored(self) -> tuple[str, ...]:
        """Return the fields that were sent and have no effect, those inside others too."""
        parts: dict[str, Strict | None] = {"text": self.text, "stream_options": self.stream_options}
        items = [] if isinstance(self.input, str) else self.input
        parts |= {f"input[{place}]": item for place, item in enumerate(items)}
        inner = [f"{place}.{name}" for place, part in parts.items() if part for name in part.ignored()]
        return (*super().ignored(), *inner)

    def echoed(self) -> dict[str, Any]:
        """Return what an answer repeats of its request, as OpenAI's do."""
        told = self.model_dump(exclude_none=True, by_alias=True, include={"tools", "tool_choice", "metadata"})
        wanted = self.text.format if self.text and self.text.format else TextFormat()
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "metadata": told.get("metadata", {}),
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "temperature": self.temperature,
            "text": {"format": wanted.model_dump(exclude_none=True, by_alias=True)},
            "tool_choice": told.get("tool_choice", "auto"),
            "tools": told.get("tools", []),
            "top_logprobs": self.top_logprobs or 0,
            "top_p": self.top_p,
        }
