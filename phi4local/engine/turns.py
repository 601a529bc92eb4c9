"""Where the turns of a prompt begin, so that the oldest can make room when the context is full."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Turns:
    """Token positions at which turns begin that may be dropped.

    What comes before the first (a system prompt) stays, and so does the last turn: it is the question.

    Args:
        starts: positions in ascending order; fewer than two leave nothing to drop.

    Example: a system prompt of 20 tokens and turns at 20, 120 and 150: `oldest(50)` is `(20, 120)`,
    `oldest(110)` is `(20, 150)`.
    """

    def __init__(self, starts: Iterable[int] = ()) -> None:
        self._starts = list(starts)

    def __bool__(self) -> bool:
        """Return whether anything can be dropped."""
        return len(self._starts) > 1

    def oldest(self, needed_tokens: int) -> tuple[int, int]:
        """Return start and end of the fewest turns that free `needed_tokens`, or of all that may go."""
        first = self._starts[0]
        ends = [start for start in self._starts[1:] if start - first >= needed_tokens]
        return first, ends[0] if ends else self._starts[-1]

    def drop(self, start: int, end: int) -> int:
        """Forget the turns between `start` and `end`; return how many they were."""
        before = len(self._starts)
        self._starts = [start, *(place - (end - start) for place in self._starts if place > end)]
        return before - len(self._starts)
