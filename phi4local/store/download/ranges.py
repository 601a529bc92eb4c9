"""Which bytes of a file are here: arithmetic on half-open ranges."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Ranges:
    """A set of bytes as sorted ranges that do not touch, each from its begin up to its end.

    Example: adding (0, 4), (8, 12) and (4, 6) gives `[(0, 6), (8, 12)]`: 10 bytes, 6 of them from the start.
    """

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []
        for begin, end in ranges:
            self.add(begin, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    @property
    def total(self) -> int:
        """How many bytes are in it."""
        return sum(end - begin for begin, end in self._ranges)

    @property
    def prefix(self) -> int:
        """How many bytes from the start are there without a gap."""
        return self._ranges[0][1] if self._ranges and self._ranges[0][0] == 0 else 0

    def add(self, begin: int, end: int) -> None:
        """Add bytes; what is there already stays."""
        if end <= begin:
            return
        first = bisect.bisect_left(self._ranges, begin, key=lambda pair: pair[1])
        last = bisect.bisect_right(self._ranges, end, key=lambda pair: pair[0])
        if first < last:
            begin = min(begin, self._ranges[first][0])
            end = max(end, self._ranges[last - 1][1])
        self._ranges[first:last] = [(begin, end)]

    def missing(self, size: int) -> list[tuple[int, int]]:
        """Return what is not there of a file of `size` bytes.

        Example: `Ranges([(2, 4)]).missing(6)` is `[(0, 2), (4, 6)]`.
        """
        gaps, place = [], 0
        for begin, end in self._ranges:
            if min(begin, size) > place:
                gaps.append((place, min(begin, size)))
            place = max(place, end)
        if place < size:
            gaps.append((place, size))
        return gaps

    def pairs(self) -> list[list[int]]:
        """Return the ranges as JSON values."""
        return [[begin, end] for begin, end in self._ranges]
