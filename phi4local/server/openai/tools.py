"""Tools in what OpenAI's clients send: what may be called, what was called, and what that gave."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from phi4local.assistant.tools import Tool, ToolUse, call_text
from phi4local.errors import UnsupportedFieldError
from phi4local.server.strict import Strict


class FunctionTold(Strict):
    """A tool as the client describes it; calls always follow the schema, `strict` or not."""

    without_effect: ClassVar[tuple[str, ...]] = ("strict",)

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolTold(Strict):
    """One of `tools`; there are functions only."""

    type: Literal["function"]
    function: FunctionTold

    def as_tool(self) -> Tool:
        """Return it as the rest of the house knows it."""
        told = self.function
        return Tool(name=told.name, description=told.description or "", parameters=told.parameters)


class FunctionNamed(Strict):
    """The name of a function."""

    name: str


class ToolNamed(Strict):
    """A `tool_choice` that names a tool."""

    type: Literal["function"]
    function: FunctionNamed


class FunctionCalled(Strict):
    """An earlier call."""

    name: str
    arguments: str


class ToolCalled(Strict):
    """One of `tool_calls` of an earlier answer."""

    type: Literal["function"] = "function"
    id: str
    function: FunctionCalled

    def text(self) -> str:
        """Return the call as the model wrote it."""
        return call_text(self.function.name, self.function.arguments)


ToolChoice = Literal["none", "auto", "required"] | ToolNamed


def tool_use(
    tools: list[ToolTold] | None, choice: ToolChoice | None, *, several: bool | None = None
) -> ToolUse | None:
    """Return what a request says about tools, or `None` when nothing is to be called.

    Args:
        tools: the tools.
        choice: whether one has to be called, and which.
        several: whether an answer may have several calls; it may when nothing is said.

    Raises:
        UnsupportedFieldError: a choice without tools.
        InvalidSettingError: as `ToolUse`.
    """
    if not tools:
        if choice not in (None, "none", "auto"):
            raise UnsupportedFieldError("tool_choice", "needs `tools`")
        return None
    if choice == "none":
        return None
    only = choice.function.name if isinstance(choice, ToolNamed) else None
    return ToolUse(
        tools=tuple(tool.as_tool() for tool in tools),
        choice="required" if only or choice == "required" else "auto",
        only=only,
        several=several is not False,
    )
