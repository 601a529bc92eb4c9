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
    """Tells calls from words: what begins as a call is held back until the answer is whole.

    What was cut off is no call: its text comes as words, and the answer's reason says `length`. Nor is
    one whose arguments no JSON can say, such as the number `1e999`.

    Args:
        names: of the tools; JSON that names another one is words.
        start: how calls begin.
        anywhere: calls may follow words, and words calls; else an answer is one or the other.

    Example: the events of `{"name": "now", "arguments": {}}` become a `ToolCall` before `Finished`.
    """

    def __init__(self, names: frozenset[str], *, start: str = CALL_START, anywhere: bool = False) -> None:
        self._names = names
        self._start = start
        self._anywhere = anywhere
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
            yield from self._sure()

    def _sure(self) -> Iterator[Text]:
        """Yield what cannot be a call any more."""
        text = "".join(event.delta for event in self._held)
        begun = text.lstrip()
        if begun.startswith(self._start) or self._start.startswith(begun):
            return
        if not self._anywhere:
            self._words = True
            yield self._as_words()
            return
        place = _where_it_may_begin(text, self._start)
        if place:
            words = self._as_words()
            self._held = [Text(text[place:], ())] if place < len(text) else []
            yield Text(text[:place], words.token_ids, words.logprobs)

    def _rest(self) -> Iterator[ToolCall | Text]:
        if self._held:
            found = self._calls("".join(event.delta for event in self._held))
            yield from found or [self._as_words()]

    def _calls(self, text: str) -> list[ToolCall | Text] | None:
        """Return the calls of a text, and the words behind them where these may be."""
        found: list[ToolCall | Text] = []
        rest = text.strip()
        while rest:
            if found and not rest.startswith(self._start):
                if not self._anywhere:
                    return None
                place = _where_it_may_begin(rest, self._start)
                found.append(Text(rest[:place], ()))
                rest = rest[place:]
                continue
            calls, end = self._first(rest)
            if not calls:
                return [*found, Text(rest, ())] if found and self._anywhere else None
            found += calls
            rest = rest[end:].lstrip()
        return found

    def _first(self, text: str) -> tuple[list[ToolCall], int]:
        """Return the calls of the JSON that a text begins with, and its length; none for anything else."""
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            return [], 0
        values = [as_call(one) for one in (value if isinstance(value, list) else [value])]
        calls = [call for call in values if call is not None and call.name in self._names]
        return (calls if len(calls) == len(values) else []), end

    def _as_words(self) -> Text:
        ids = tuple(token for event in self._held for token in event.token_ids)
        entries = [event.logprobs for event in self._held if event.logprobs]
        text = "".join(event.delta for event in self._held)
        self._held = []
        return Text(text, ids, tuple(each for entry in entries for each in entry) or None)


def as_call(value: Any) -> ToolCall | None:  # noqa: ANN401 - any JSON
    """Return a call, or `None` for what is none: no arguments, infinite numbers, halves of characters."""
    if not isinstance(value, dict):
        return None
    name, arguments = value.get("name"), value.get("arguments")
    if not (isinstance(name, str) and isinstance(arguments, dict)):
        return None
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return None
    return ToolCall(name, text)


def _where_it_may_begin(text: str, start: str) -> int:
    """Return where `start`, or the beginning of it at the end of the text, is; else the text's length.

    Example: `_where_it_may_begin('Hm. [{"na', '[{"name"')` is 4.
    """
    place = text.find(start)
    if place >= 0:
        return place
    for length in range(min(len(start) - 1, len(text)), 0, -1):
        if text.endswith(start[:length]):
            return len(text) - length
    return len(text)
