"""What a model is told of its tools, in plain words: Phi-4 was not trained for a format of its own.

Everything here is text that people wrote, so it is tokenized without control tokens: a tool that is called
`<|im_end|>`, or returns it, ends nobody's turn.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from phi4local.engine.structure import tool_call_schema
from phi4local.errors import InvalidSettingError
from phi4local.messages import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.catalog import ToolMarks

CALL_START = '{"name"'
"""How calls begin; an answer that begins otherwise is text."""
LIST_START = '[{"name"'
"""How a list of calls begins, for models with tokens of their own around it."""
MOST_TOOLS = 128
MOST_CALLS = 16
"""Calls of one answer."""
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_TOLD = """\
You can call these tools. Each line has a tool's name, what it does and its arguments' schema.
{tools}
{how}"""
_ONE, _SEVERAL = "a call", "calls, one a line"
_MAY = (
    'To call a tool, answer with nothing but {what}: {{"name": "NAME", "arguments": {{…}}}}. '
    "The result comes with the next message. When you need no tool, answer in words."
)
_MUST = 'Answer with nothing but {what}: {{"name": "NAME", "arguments": {{…}}}}.'


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Something that the model may call.

    Attributes:
        name: 1 to 64 letters, digits, `_`, `.` or `-`.
        description: what it does, in words.
        parameters: JSON schema of its arguments, an object; `None` for a tool without any.

    Raises:
        InvalidSettingError: another name.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidSettingError(
                "tools",
                f"has a tool called {self.name!r}",
                hint="use up to 64 letters, digits, `_`, `.`, `-`",
            )

    def described(self, arguments: str) -> dict[str, Any]:
        """Return what a model is told; `arguments` is what it calls their schema."""
        return {"name": self.name, "description": self.description, arguments: self.parameters or {}}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """The tools of one request.

    Attributes:
        tools: one or more, with different names.
        choice: "auto" lets the model decide, "required" makes it call one.
        only: the one that it has to call, with "required".
        several: whether an answer may have several calls.

    Example: `ToolUse(tools=(Tool(name="now"),), choice="required").structure()["json_schema"]` allows
    `{"name": "now", "arguments": {}}` and nothing else.

    Raises:
        InvalidSettingError: no tool, too many, two with one name, or `only` is none of them.
    """

    tools: tuple[Tool, ...]
    choice: Literal["auto", "required"] = "auto"
    only: str | None = None
    several: bool = True

    def __post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        if not 1 <= len(names) <= MOST_TOOLS:
            raise InvalidSettingError("tools", f"has {len(names)} tools; it must have 1 to {MOST_TOOLS}")
        if len(set(names)) < len(names):
            raise InvalidSettingError("tools", "has two tools with one name")
        if self.only is not None and self.only not in names:
            raise InvalidSettingError("tool_choice", f"names {self.only!r}, which is none of the tools")

    def structure(self, marks: ToolMarks | None = None) -> dict[str, Any]:
        """Return the fields of `SamplingSettings` that hold calls to the schemas.

        Args:
            marks: the model's tokens around calls; without them calls are lines of an answer.

        Raises:
            InvalidSettingError: a schema that is no object.
        """
        chosen = {tool.name: tool.parameters for tool in self.tools if self.only in (None, tool.name)}
        most = MOST_CALLS if self.several else 1
        if marks is not None:
            schema = {**tool_call_schema(chosen, several=True), "maxItems": most}
            opening, closing = marks.called
            begins = {"structure_trigger": opening, **({"structure_end": closing} if most > 1 else {})}
        else:
            schema = tool_call_schema(chosen)
            begins = {"structure_start": CALL_START}
        repeat = {"structure_repeat": most} if marks is None and most > 1 else {}
        return {"json_schema": schema, **repeat, **({} if self.choice == "required" else begins)}

    def told(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """Return a conversation whose system message, made if there is none, says what the tools are."""
        tools = "\n".join(_as_json(tool.described("arguments")) for tool in self.tools)
        how = (_MAY if self.choice == "auto" else _MUST).format(what=_SEVERAL if self.several else _ONE)
        words = _TOLD.format(tools=tools, how=how)
        if messages and messages[0].role == "system":
            return (Message("system", f"{messages[0].content}\n\n{words}"), *messages[1:])
        return (Message("system", words), *messages)


def call_text(name: str, arguments: str) -> str:
    """Return an earlier call as the model wrote it. Example: `{"name": "now", "arguments": {}}`.

    Raises:
        InvalidSettingError: arguments that are no JSON object.
    """
    try:
        values = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise InvalidSettingError("arguments", f"of a call of {name!r} are no JSON object")
    return json.dumps({"name": name, "arguments": values}, ensure_ascii=False)


def result_text(name: str, content: str) -> str:
    """Return what a tool answered, as the person's next message. Example: `Result of now: 12:30`."""
    return f"Result of {name}: {content}"


def _as_json(value: Any) -> str:  # noqa: ANN401 - what JSON can say
    return json.dumps(value, ensure_ascii=False)
