"""Tools that a model may call: what it is told, what holds its calls to their schema, what it called."""

from phi4local.assistant.events import ToolCall
from phi4local.assistant.tools.calls import CallReader
from phi4local.assistant.tools.prompt import ToolPrompt, between_marks, in_words
from phi4local.assistant.tools.use import Tool, ToolUse, call_text, result_text

__all__ = [
    "CallReader",
    "Tool",
    "ToolCall",
    "ToolPrompt",
    "ToolUse",
    "between_marks",
    "call_text",
    "in_words",
    "result_text",
]
