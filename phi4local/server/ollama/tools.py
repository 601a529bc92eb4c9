"""Tools in what Ollama's clients send: calls of earlier answers, and what they gave."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from phi4local.assistant.tools import call_text
from phi4local.server.strict import Strict

if TYPE_CHECKING:
    from phi4local.assistant.events import ToolCall


class FunctionCalled(Strict):
    """An earlier call; here, arguments are an object and not its text."""

    name: str
    arguments: dict[str, Any]
    index: int | None = None


class ToolCalled(Strict):
    """One of `tool_calls` of an earlier answer."""

    type: Literal["function"] | None = None
    id: str | None = None
    function: FunctionCalled

    def text(self) -> str:
        """Return the call as the model wrote it."""
        return call_text(self.function.name, json.dumps(self.function.arguments, ensure_ascii=False))


def called(call: ToolCall) -> dict[str, Any]:
    """Return a call as Ollama tells it; arguments that were cut off are none."""
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = {}
    return {"id": call.id, "function": {"name": call.name, "arguments": arguments}}
