"""What Anthropic's clients send to `/v1/messages`.

Source: https://docs.anthropic.com/en/api/messages, and the types of the package `anthropic`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from phi4local.assistant.tools import Tool, ToolUse, call_text, result_text
from phi4local.errors import UnsupportedFieldError
from phi4local.messages import Message
from phi4local.server.strict import Strict
from phi4local.server.task import Task
from phi4local.settings import SamplingSettings

NO_IMAGES = "is a picture or a document, which models of this family do not read; send text"


class TextBlock(Strict):
    """A piece of text."""

    without_effect: ClassVar[tuple[str, ...]] = ("cache_control", "citations")

    type: Literal["text"]
    text: str
    cache_control: dict[str, Any] | None = None
    citations: list[Any] | None = None


class ToolUseBlock(Strict):
    """An earlier call."""

    without_effect: ClassVar[tuple[str, ...]] = ("cache_control", "caller")

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]
    cache_control: dict[str, Any] | None = None
    caller: Any = None


class ToolResultBlock(Strict):
    """What a call gave."""

    without_effect: ClassVar[tuple[str, ...]] = ("cache_control",)

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None
    cache_control: dict[str, Any] | None = None

    def text(self, name: str) -> str:
        """Return the result in words."""
        said = result_text(name, joined(self.content or ""))
        return f"{said} (an error)" if self.is_error else said


class ThoughtBlock(Strict):
    """A thought that comes back; models of this family do not see theirs again."""

    type: Literal["thinking", "redacted_thinking"]
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class OtherBlock(Strict):
    """What is refused."""

    type: Literal["image", "document", "search_result"]
    source: Any = None
    cache_control: Any = None
    title: Any = None
    context: Any = None
    citations: Any = None
    content: Any = None


Block = Annotated[
    TextBlock | ToolUseBlock | ToolResultBlock | ThoughtBlock | OtherBlock, Field(discriminator="type")
]


def joined(content: str | list[TextBlock]) -> str:
    """Return the text of blocks, one after the other."""
    return content if isinstance(content, str) else "\n".join(block.text for block in content)


class Turn(Strict):
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str | list[Block]


class ToolTold(Strict):
    """A tool as the client describes it."""

    without_effect: ClassVar[tuple[str, ...]] = ("cache_control", "strict")

    type: Literal["custom"] | None = None
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None
    cache_control: dict[str, Any] | None = None


class ToolChoice(Strict):
    """Whether a tool has to be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class JsonFormat(Strict):
    """A JSON schema that the answer has to follow."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Strict):
    """What the answer has to be."""

    without_effect: ClassVar[tuple[str, ...]] = ("effort",)

    effort: str | None = None
    format: JsonFormat | None = None


class Talk(Strict):
    """What counting and answering have in common."""

    without_effect: ClassVar[tuple[str, ...]] = (
        *("thinking", "cache_control", "diagnostics", "inference_geo", "speed"),
        *("user_profile_id", "workspace_id"),
    )

    model: str
    messages: Annotated[list[Turn], Field(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[ToolTold] | None = None
    tool_choice: ToolChoice | None = None
    thinking: dict[str, Any] | None = None
    output_config: OutputConfig | None = None
    cache_control: dict[str, Any] | None = None
    diagnostics: dict[str, Any] | None = None
    inference_geo: str | None = None
    speed: str | None = None
    user_profile_id: str | None = None
    workspace_id: str | None = None

    def tool_use(self) -> ToolUse | None:
        """Return what is said about tools, or `None` when nothing is to be called.

        Raises:
            UnsupportedFieldError: a choice without tools, or one without a name.
            InvalidSettingError: as `ToolUse`.
        """
        choice = self.tool_choice
        if not self.tools:
            if choice is not None and choice.type in ("any", "tool"):
                raise UnsupportedFieldError("tool_choice", "needs `tools`")
            return None
        if choice is not None and choice.type == "none":
            return None
        tools = tuple(
            Tool(name=told.name, description=told.description or "", parameters=told.input_schema)
            for told in self.tools
        )
        if choice is None:
            return ToolUse(tools=tools)
        several = not choice.disable_parallel_tool_use
        if choice.type == "auto":
            return ToolUse(tools=tools, several=several)
        if choice.type == "tool" and choice.name is None:
            raise UnsupportedFieldError("tool_choice.name", "is missing")
        return ToolUse(tools=tools, choice="required", only=choice.name, several=several)

    def prompt(self) -> tuple[Message, ...]:
        """Return the conversation.

        Raises:
            UnsupportedFieldError: a picture or a document; a result of a call that nobody made.
        """
        found = [Message("system", joined(self.system))] if self.system else []
        names: dict[str, str] = {}
        for number, turn in enumerate(self.messages):
            found.append(Message(turn.role, _text(turn, names, f"messages[{number}]")))
        return tuple(found)

    def counted(self) -> Task:
        """Return what is to be counted. See `prompt` and `tool_use`."""
        return Task(model=self.model, prompt=self.prompt(), tool_use=self.tool_use())


class MessagesRequest(Talk):
    """A request to `/v1/messages`; `temperature`, `top_p` and `top_k` are those of older clients."""

    without_effect: ClassVar[tuple[str, ...]] = (*Talk.without_effect, "metadata", "service_tier")

    max_tokens: int
    stop_sequences: list[str] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None

    def as_task(self) -> Task:
        """Return what is to be done.

        Raises:
            InvalidSettingError, UnsupportedFieldError: a value that cannot be.
        """
        if self.max_tokens < 1:
            raise UnsupportedFieldError("max_tokens", f"is {self.max_tokens}; it must be at least 1")
        use, form = self.tool_use(), self.output_config.format if self.output_config else None
        if use is not None and form is not None:
            raise UnsupportedFieldError("tools", "do not go with `output_config.format`")
        structure = {"json_schema": form.schema_} if form else {}
        sampling = SamplingSettings.from_mapping(
            {
                "temperature": self.temperature,
                "top_p": self.top_p,
                "top_k": self.top_k,
                "stop": self.stop_sequences or None,
                **structure,
            }
        )
        return Task(
            model=self.model,
            prompt=self.prompt(),
            sampling=sampling,
            max_tokens=self.max_tokens,
            tool_use=use,
        )


def _text(turn: Turn, names: dict[str, str], place: str) -> str:
    """Return a turn in words; `names` learns the calls in it."""
    if isinstance(turn.content, str):
        return turn.content
    said = []
    for number, block in enumerate(turn.content):
        if isinstance(block, OtherBlock):
            raise UnsupportedFieldError(f"{place}.content[{number}]", NO_IMAGES)
        if isinstance(block, TextBlock):
            said.append(block.text)
        elif isinstance(block, ToolUseBlock):
            names[block.id] = block.name
            said.append(call_text(block.name, json.dumps(block.input)))
        elif isinstance(block, ToolResultBlock):
            if block.tool_use_id not in names:
                raise UnsupportedFieldError(
                    f"{place}.content[{number}].tool_use_id", "is that of no call before it"
                )
            said.append(block.text(names[block.tool_use_id]))
    return "\n".join(said)
