"""Account of the KV cache's cells: which sequence holds which tokens, and how many cells are taken.

llama.cpp does not tell how many cells are free, and a sequence's tokens cannot be read back from it. So every
change of its cache is written down here first. Pure bookkeeping; `phi4local.engine.cache` applies it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Cells:
    """What each sequence of one context holds.

    Args:
        capacity: cells of the pool when `unified`, else of each sequence.
        sequences: how many sequences there are, numbered from 0.
        unified: whether sequences can share cells.

    Example::

        cells = Cells(100, sequences=2, unified=True)
        cells.append(0, [7, 8, 9])
        cells.share(0, 1, 2)  # sequence 1 begins with 7, 8
        cells.append(1, [5])
        cells.used  # 4: three of sequence 0, one more of sequence 1
    """

    def __init__(self, capacity: int, *, sequences: int, unified: bool) -> None:
        self.capacity = capacity
        self.unified = unified
        self.used = 0
        self._tokens: list[list[int]] = [[] for _ in range(sequences)]
        self._cells: list[list[int]] = [[] for _ in range(sequences)]
        self._numbers = itertools.count()
        self._sharers: Counter[int] = Counter()
        """Cells that more than one sequence holds, with the number of the other ones."""

    def tokens(self, sequence: int) -> Sequence[int]:
        """Return the token ids that a sequence holds, by position."""
        return self._tokens[sequence]

    def length(self, sequence: int) -> int:
        """Return how many tokens a sequence holds."""
        return len(self._tokens[sequence])

    def free(self, sequence: int) -> int:
        """Return how many tokens could be appended to a sequence."""
        return self.capacity - (self.used if self.unified else len(self._tokens[sequence]))

    def append(self, sequence: int, tokens: Sequence[int]) -> None:
        """Write down that `tokens` were evaluated at the end of a sequence."""
        self._tokens[sequence] += tokens
        self._cells[sequence] += itertools.islice(self._numbers, len(tokens))
        self.used += len(tokens)

    def share(self, source: int, target: int, count: int) -> None:
        """Let the empty sequence `target` begin with the first `count` tokens of `source`."""
        self._tokens[target] = self._tokens[source][:count]
        if self.unified:
            self._cells[target] = self._cells[source][:count]
            self._sharers.update(self._cells[target])
        else:
            self._cells[target] = list(itertools.islice(self._numbers, count))
            self.used += count

    def cut_out(self, sequence: int, start: int, end: int | None = None) -> None:
        """Drop the tokens of a sequence from `start` up to `end`; what follows moves down."""
        self._release(self._cells[sequence][start:end])
        del self._tokens[sequence][start:end]
        del self._cells[sequence][start:end]

    def distinct(self, sequences: Iterable[int]) -> int:
        """Return how many cells some sequences hold together, shared ones counted once."""
        return len(set().union(*(self._cells[sequence] for sequence in sequences)))

    def any_shared(self, sequence: int, start: int) -> bool:
        """Return whether another sequence holds a cell of this one at `start` or after it."""
        return any(cell in self._sharers for cell in self._cells[sequence][start:])

    def _release(self, cells: Iterable[int]) -> None:
        for cell in cells:
            others = self._sharers.get(cell, 0)
            if others == 0:
                self.used -= 1
            elif others == 1:
                del self._sharers[cell]
            else:
                self._sharers[cell] = others - 1


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """Return how many leading tokens are equal. Example: ([1, 2, 3], [1, 2, 9]) → 2.

    Lists are compared in halves, since comparing slices is a hundred times as fast as a loop.
    """
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
