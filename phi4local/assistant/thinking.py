"""What a reasoning model thinks, told apart from what it answers, while the text comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OPENING, CLOSING = "<think>", "</think>"
"""What Phi-4's reasoning models write around their thoughts."""

_State = Literal["before", "thinking", "gap", "answer"]


@dataclass(frozen=True, slots=True)
class Thought:
    """New text of what the model thinks before it answers.

    Example: `Thought("The sky")`.
    """

    delta: str


class ThinkingSplitter:
    r"""Cuts a reply that comes in pieces into thoughts and answer.

    Thoughts count only at the beginning of a reply; a `<think>` further on is part of what the model says.
    Where `</think>` never comes, everything is thought. White space around the two marks belongs to nobody,
    but a reply without them is passed on to the letter.

    It looks at text and not at tokens, so it does the same for every vocabulary and for a server's replies.

    Example::

        >>> splitter = ThinkingSplitter()
        >>> splitter.feed("<thi"), splitter.feed("nk>Two and two"), splitter.feed("</think>\n\nFour.")
        ([], [Thought(delta='Two and two')], ['Four.'])
        >>> splitter.finish(), splitter.closed
        ([], True)
    """

    def __init__(self) -> None:
        self._state: _State = "before"
        self._held = ""
        self._fresh = True  # no thought was returned yet

    @property
    def closed(self) -> bool:
        """Whether the thoughts are over; `False` at the end of a reply says that no answer came."""
        return self._state in ("gap", "answer")

    def feed(self, delta: str) -> list[Thought | str]:
        """Take more text; return what is sure by now, in order and without empty parts."""
        self._held += delta
        parts: list[Thought | str] = []
        if self._state == "before":
            self._begin()
        if self._state == "thinking":
            parts += self._think()
        if self._state == "gap":
            self._held = self._held.lstrip()
            self._state = "answer" if self._held else "gap"
        if self._state == "answer" and self._held:
            parts.append(self._held)
            self._held = ""
        return parts

    def finish(self) -> list[Thought | str]:
        """Return what was held back because it could have become a mark."""
        held, self._held = self._held, ""
        if self._state == "thinking":
            held = held.strip() if self._fresh else held.rstrip()
            return [Thought(held)] if held else []
        if self._state == "before" and held:
            self._state = "answer"
            return [held]
        return []

    def _begin(self) -> None:
        start = self._held.lstrip()
        if start.startswith(OPENING):
            self._state = "thinking"
            self._held = start.removeprefix(OPENING)
        elif not OPENING.startswith(start):
            self._state = "answer"

    def _think(self) -> list[Thought | str]:
        thought, closing, rest = self._held.partition(CLOSING)
        if closing:
            self._state, self._held = "gap", rest
            thought = thought.rstrip()
        else:
            sure = _sure_length(thought)
            thought, self._held = thought[:sure], thought[sure:]
        if self._fresh:
            thought = thought.lstrip()
        self._fresh = self._fresh and not thought
        return [Thought(thought)] if thought else []


def answer_of(text: str) -> str:
    r"""Return a whole reply without its thoughts: what the model may see again as history.

    Examples: `"<think>Two and two</think>\n\nFour."` → `"Four."`; `"<think>Two and"` → `""`; `"Four."` →
    `"Four."`.
    """
    splitter = ThinkingSplitter()
    parts = [*splitter.feed(text), *splitter.finish()]
    return "".join(part for part in parts if isinstance(part, str))


def _sure_length(thought: str) -> int:
    """Return how much of a thought cannot be the beginning of the closing mark, or white space before it.

    Example: `"ten </thi"` → 3.
    """
    longest = min(len(CLOSING) - 1, len(thought))
    begun = next((n for n in range(longest, 0, -1) if thought.endswith(CLOSING[:n])), 0)
    return len(thought[: len(thought) - begun].rstrip())
