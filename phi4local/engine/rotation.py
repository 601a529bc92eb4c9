"""Whose turn it is when sequences with different adapters are in work.

llama.cpp's adapters belong to the context, so one batch has one set of them. Groups take turns in slices,
since changing the set costs a new graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.engine.cache import AdapterKey
    from phi4local.engine.sequence import Sequence

SLICE_STEPS = 32
SLICE_SECONDS = 0.25


class Rotation:
    """Choose the group of the next step.

    Example: with groups A and B in work, A has up to 32 steps or 0.25 s, then B, then A again.
    """

    def __init__(self) -> None:
        self._key: AdapterKey | None = None
        self._steps = 0
        self._since = 0.0

    def choose(self, live: list[Sequence], now: float) -> list[Sequence]:
        """Return the sequences whose adapters compute next.

        Args:
            live: all of them, in order of their arrival.
            now: a clock in seconds.
        """
        first = live[0].key
        if all(sequence.key == first for sequence in live):
            return live
        groups = list(dict.fromkeys(sequence.key for sequence in live))
        over = self._steps >= SLICE_STEPS or now - self._since >= SLICE_SECONDS
        if self._key not in groups or over:
            place = groups.index(self._key) + 1 if self._key in groups else 0
            self._key = groups[place % len(groups)]
            self._steps, self._since = 0, now
        self._steps += 1
        return [sequence for sequence in live if sequence.key == self._key]
