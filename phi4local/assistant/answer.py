"""An answer while it comes: its text, its thoughts, its token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.assistant.guard.events import Blocked, Masked
from phi4local.assistant.thinking import ThinkingSplitter, Thought
from phi4local.engine import ContextShifted, Finished, Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.events import ConversationEvent


class Answer:
    """Collects the events of an answer; thoughts are told from it by `<think>` at its beginning.

    Attributes:
        text: what was said, without thoughts: what the model sees again as history.
        thought: what was thought before.
        has_all_ids: whether the token ids of the text are known; not behind thoughts, nor if the guard cut.
        shifted_turns: turns that the engine dropped while it came.

    Example: `take(Text("Hi", (919,)))` yields that event, and then `text` is "Hi".
    """

    def __init__(self) -> None:
        self.text = ""
        self.thought = ""
        self.has_all_ids = True
        self.shifted_turns = 0
        self._ids: list[int] = []
        self._splitter = ThinkingSplitter()

    def take(self, event: ConversationEvent) -> Iterator[ConversationEvent]:
        """Take an event and yield what is to be shown of it."""
        if isinstance(event, Text):
            self._ids += event.token_ids
            yield from self._parts(self._splitter.feed(event.delta), event)
            return
        if isinstance(event, Blocked | Masked):
            self.has_all_ids = False
        elif isinstance(event, ContextShifted):
            self.shifted_turns += event.turns
        yield event

    def rest(self) -> Iterator[ConversationEvent]:
        """Yield what was held back because it could have been a mark of thoughts."""
        yield from self._parts(self._splitter.finish(), Text("", ()))

    def ids(self, finished: Finished) -> tuple[int, ...]:
        """Return the token ids of the text; the end token is the template's."""
        return tuple(self._ids[:-1] if finished.reason == "stop" else self._ids)

    def _parts(self, parts: list[Thought | str], event: Text) -> Iterator[ConversationEvent]:
        """Yield thoughts and text; the ids and probabilities go with the first text, or alone."""
        rest = event
        for part in parts:
            if isinstance(part, Thought):
                self.thought += part.delta
                self.has_all_ids = False
                yield part
            else:
                self.text += part
                yield Text(part, rest.token_ids, rest.logprobs)
                rest = Text("", ())
        if rest.token_ids:
            yield Text("", rest.token_ids, rest.logprobs)
