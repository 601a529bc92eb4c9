"""A summary of the oldest turns, written by the model that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.assistant.thinking import answer_of
from phi4local.errors import ContextTooLongError
from phi4local.messages import Message

if TYPE_CHECKING:
    from phi4local.assistant.counting import Turns
    from phi4local.engine import Generation

MARK = "Summary of our conversation so far:"
"""How a summary begins, so that people and programs recognise it."""
SHORTEST_SUMMARY = 16
"""With fewer tokens there is nothing to say."""

_REPLY = "I remember."
_INSTRUCTION = (
    "Summarize our conversation so far in at most {words} words: the facts, names, numbers and decisions "
    "that matter for going on. Write nothing but the summary."
)
_WORDS_PER_TOKEN = 0.6
"""English has about 0.75 words a token; a model that is told less keeps within its limit more often."""


def summary_turn(summary: str) -> tuple[Message, Message]:
    r"""Return a summary as the turn that takes the place of what it is about.

    It is a turn like any other: when it is the oldest, the next summary covers it too. Said by the user and
    not by the system, because some templates have no place for a second system message, and because nothing
    that came from a conversation should get the weight of an instruction.

    Example: `summary_turn("Ada is nine.")[0].content` is "Summary of our conversation so far:\nAda is nine.".
    """
    return Message("user", f"{MARK}\n{summary}"), Message("assistant", _REPLY)


def is_summary(message: Message) -> bool:
    """Return whether a message carries a summary of earlier turns."""
    return message.role == "user" and message.content.startswith(MARK)


class Summarizer:
    """Lets a model write summaries; `cancel` from another thread ends the one in work.

    A cancelled summary is kept as far as it came. Whoever cancelled may not want to go on: `cancelled` tells.

    Example: `Summarizer().summarize(turns, 3, 48)` → "Ada is nine and wants to know why the sky is blue.".
    """

    def __init__(self) -> None:
        self.cancelled = False
        self._running: Generation | None = None

    def cancel(self) -> None:
        """End the summary at the engine's next step, also one that has not begun."""
        self.cancelled = True
        if self._running is not None:
            self._running.cancel()

    def summarize(self, turns: Turns, count: int, longest: int) -> str:
        """Return a summary of the first `count` turns in at most `longest` tokens.

        Turns that the context does not hold together are read one part after the other, each with the summary
        of those before. A turn that does not fit even alone is left out.

        Raises:
            EngineError: the engine failed.
        """
        summary, begin = "", 0
        while begin < count and not self.cancelled:
            part = _Part(turns, begin, summary, longest)
            end = part.last_that_fits(count)
            if end > begin:
                summary = self._write(part, end) or summary
            begin = max(end, begin + 1)
        return summary

    def _write(self, part: _Part, end: int) -> str:
        model = part.turns.model
        # Thoughts come before a summary and take what room there is.
        limit = None if model.thinking else part.longest
        with model.chat(part.question(end), max_tokens=limit, kept_ids=part.kept_ids(end)) as generation:
            self._running = generation
            if self.cancelled:
                generation.cancel()
            text = generation.result().text
        return (answer_of(text) if model.thinking else text).strip()


class _Part:
    """Turns from `begin` on, with the summary of those before: what is asked about at once."""

    def __init__(self, turns: Turns, begin: int, summary: str, longest: int) -> None:
        self.turns = turns
        self.longest = longest
        self._begin = begin
        self._before = summary_turn(summary) if summary else ()

    def question(self, end: int) -> list[Message]:
        """Return the messages that ask for a summary of the turns to before `end`."""
        words = int(self.longest * _WORDS_PER_TOKEN)
        asked = Message("user", _INSTRUCTION.format(words=words))
        turns = self.turns.between(self._begin, end)
        return [*self.turns.head, *self._before, *turns, asked]

    def kept_ids(self, end: int) -> dict[int, tuple[int, ...]]:
        """Return the ids of answers in the question, while it begins like the conversation did."""
        last = len(self.turns.head) + len(self.turns.between(0, end))
        ids = self.turns.kept_ids.items()
        return {} if self._before else {place: kept for place, kept in ids if place < last}

    def last_that_fits(self, count: int) -> int:
        """Return the largest end up to `count` whose question leaves room for a summary; `begin` for none."""
        if self._fits(count):
            return count
        low, high = self._begin, count
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits(middle) else (low, middle)
        return low

    def _fits(self, end: int) -> bool:
        model = self.turns.model
        room = max(self.longest, model.context_tokens // 4) if model.thinking else self.longest
        try:
            tokens = model.count_tokens(self.question(end), kept_ids=self.kept_ids(end))
        except ContextTooLongError:  # so much text that nobody counts it
            return False
        return tokens <= model.context_tokens - room
