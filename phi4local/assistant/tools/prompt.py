"""A conversation with tools as a model reads it: in words, or between the tokens it was trained with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.assistant.tools.calls import CallReader, as_call
from phi4local.assistant.tools.use import CALL_START, LIST_START
from phi4local.messages import Message
from phi4local.prompts import TextSegment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from phi4local.assistant.tools.use import ToolUse
    from phi4local.catalog import ToolMarks


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolPrompt:
    """What a request with tools becomes for one model.

    Attributes:
        messages: the conversation.
        structure: the fields of `SamplingSettings` that hold calls to their schemas.
        written: segments in the place of a message's text, by its index.
        begun: what the template of the answer's turn is followed by: the answer has begun already.
        start: how calls begin in the answer's text.
    """

    messages: tuple[Message, ...]
    structure: Mapping[str, Any]
    written: Mapping[int, tuple[TextSegment, ...]] = field(default_factory=dict)
    begun: tuple[TextSegment, ...] = ()
    start: str = CALL_START

    def reader(self, use: ToolUse) -> CallReader:
        """Return what reads the calls from an answer."""
        names = frozenset(tool.name for tool in use.tools)
        return CallReader(names, start=self.start, anywhere=self.start == LIST_START)


def in_words(use: ToolUse, messages: Sequence[Message]) -> ToolPrompt:
    """Tell a model of its tools in plain words: most of the family was not trained for them."""
    return ToolPrompt(messages=use.told(messages), structure=use.structure())


def between_marks(use: ToolUse, messages: Sequence[Message], marks: ToolMarks) -> ToolPrompt:
    """Tell a model of its tools as it was trained: Phi-4-mini.

    Example: the system message is followed by `<|tool|>[{"name": …}]<|/tool|>`, an earlier answer that called
    one is `<|tool_call|>[{"name": …, "arguments": …}]<|/tool_call|>`. What people and tools wrote stays
    plain text.
    """
    first = messages[0] if messages else None
    if first is None or first.role != "system" or not first.content.strip():
        rest = messages[1:] if first is not None and first.role == "system" else messages
        messages = (Message("system", marks.system), *rest)
    tools = json.dumps([tool.described("parameters") for tool in use.tools], ensure_ascii=False)
    written = {0: (TextSegment(messages[0].content, special=False), *_marked(tools, marks.told))}
    for index, message in enumerate(messages):
        words, calls = _told_apart(message.content) if message.role == "assistant" else ("", [])
        if calls:
            said = (TextSegment(words, special=False),) if words else ()
            written[index] = (*said, *_marked(f"[{', '.join(calls)}]", marks.called))
    return ToolPrompt(
        messages=tuple(messages),
        structure=use.structure(marks),
        written=written,
        begun=(TextSegment(marks.called[0], special=True),) if use.choice == "required" else (),
        start=LIST_START,
    )


def _marked(text: str, marks: tuple[str, str]) -> Iterator[TextSegment]:
    yield TextSegment(marks[0], special=True)
    yield TextSegment(text, special=False)
    yield TextSegment(marks[1], special=True)


def _told_apart(content: str) -> tuple[str, list[str]]:
    """Return the words of an earlier answer, and the calls in its last lines, as `call_text` wrote them."""
    lines = content.split("\n")
    first = len(lines)
    while first and as_call(_value(lines[first - 1])) is not None:
        first -= 1
    return "\n".join(lines[:first]), lines[first:]


def _value(line: str) -> Any:  # noqa: ANN401 - any JSON
    if not line.startswith(CALL_START):
        return None
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
