"""What a model called, read from its answer while it comes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from phi4local.assistant.events import ToolCall
from phi4local.assistant.tools.use import CALL_START
from phi4local.engine import Finished, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent


class CallReader:
    """Tells a call from words: an answer that begins with `{"name"` is held back until it is whole.

    A call that was cut off is no call: its text comes as words, and the answer's reason says `length`. Nor is
    one whose arguments no JSON can say, such as the number `1e999`.

    Args:
        names: of the tools; JSON that names another one is words.

    Example: the events of `{"name": "now", "arguments": {}}` become a `ToolCall` before `Finished`.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names
        self._held: list[Text] = []
        self._words = False

    def push(self, event: ConversationEvent) -> Iterator[ConversationEvent]:
        """Take an event of an answer and yield what a client is told."""
        if isinstance(event, Finished):
            yield from self._rest()
            yield event
        elif not isinstance(event, Text) or self._words or not (event.delta or self._held):
            yield event  # ids without text in front are those of thoughts
        else:
            self._held.append(event)
            begun = self._text().lstrip()
            if not (begun.startswith(CALL_START) or CALL_START.startswith(begun)):
                self._words = True
                yield self._as_words()

    def _text(self) -> str:
        return "".join(event.delta for event in self._held)

    def _rest(self) -> Iterator[ConversationEvent]:
        if not self._held:
            return
        call = self._call()
        yield self._as_words() if call is None else call

    def _call(self) -> ToolCall | None:
        try:
            found = json.loads(self._text())
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict):
            return None
        name, arguments = found.get("name"), found.get("arguments")
        if not (isinstance(name, str) and name in self._names and isinstance(arguments, dict)):
            return None
        told = _as_json(arguments)
        return None if told is None else ToolCall(name, told)

    def _as_words(self) -> Text:
        ids = tuple(token for event in self._held for token in event.token_ids)
        entries = [event.logprobs for event in self._held if event.logprobs]
        held = Text(self._text(), ids, tuple(each for entry in entries for each in entry) or None)
        self._held = []
        return held


def _as_json(arguments: dict[str, Any]) -> str | None:
    """Return arguments as JSON, or `None` for infinite numbers and halves of characters."""
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return None
    return text
