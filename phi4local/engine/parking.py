"""Kept sequences outside the context, in main memory.

llama.cpp attends over all cells up to the last used one and skips the foreign ones one by one: a cache that
is nine tenths full of other conversations slows a stream by a sixth on a CPU. So what is kept is moved out
when somebody else works, and back when it is needed: a copy takes milliseconds, an evaluation minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.engine.cache import Cache
from phi4local.engine.cells import common_prefix
from phi4local.native.state import read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.engine.cache import AdapterKey, Holding
    from phi4local.native.context import NativeContext

LEAST_TOKENS = 64
"""Fewer are evaluated as fast as they are copied."""
MOST_CELLS_BESIDE = 256
"""Cells of kept sequences that stay beside a live one: the smallest number that llama.cpp can leave out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedSequence:
    """What a sequence held when it was moved out.

    Attributes:
        tokens: the ids of its cells.
        key: the adapters that they were computed with.
        exact_tokens: how many were never moved by a context shift; `None` for all.
        cells: llama.cpp's bytes.
    """

    tokens: tuple[int, ...]
    key: AdapterKey
    exact_tokens: int | None
    cells: bytearray


class Parking:
    """Room for sequences that are not in the context; the one that was parked first makes room.

    Args:
        most_tokens: tokens of all parked sequences together; 0 parks nothing.
    """

    def __init__(self, most_tokens: int) -> None:
        self._most_tokens = most_tokens
        self._parked: list[ParkedSequence] = []

    def takes(self, tokens: int) -> bool:
        """Return whether a sequence of so many tokens has room at all."""
        return 0 < tokens <= self._most_tokens

    def put(self, sequence: ParkedSequence) -> None:
        """Keep a sequence, and forget the oldest ones if they are too many together."""
        self._parked.append(sequence)
        while sum(len(parked.tokens) for parked in self._parked) > self._most_tokens:
            del self._parked[0]

    def find(self, tokens: Sequence[int], key: AdapterKey) -> tuple[ParkedSequence | None, int]:
        """Return the sequence of this key with the longest common prefix, and how long that is."""
        best: tuple[ParkedSequence | None, int] = (None, 0)
        for parked in self._parked:
            count = common_prefix(parked.tokens, tuple(tokens)) if parked.key == key else 0
            if count > best[1]:
                best = parked, count
        return best

    def take(self, sequence: ParkedSequence) -> None:
        """Forget a sequence: it is back in the context."""
        self._parked.remove(sequence)

    def clear(self) -> None:
        """Forget all."""
        self._parked.clear()


class ParkingCache(Cache):
    """A cache whose kept sequences are parked instead of forgotten.

    Args:
        context: whose cache this is.
        parked_tokens: tokens of all parked sequences together; with 0 they are forgotten.
        on_gpu: the cells are in a GPU's memory, where those of others hardly slow anybody down: they stay
            until their room is needed.
    """

    def __init__(self, context: NativeContext, parked_tokens: int, *, on_gpu: bool = False) -> None:
        super().__init__(context)
        self._on_gpu = on_gpu
        self._parking = Parking(parked_tokens)

    def evict(self, holding: Holding) -> None:
        """Move a kept sequence out."""
        count = self.cells.length(holding.number)
        if count >= LEAST_TOKENS and self._parking.takes(count):
            parked = ParkedSequence(
                tokens=tuple(self.cells.tokens(holding.number)),
                key=holding.key,
                exact_tokens=holding.exact_tokens,
                cells=read_state(self._context, holding.number),
            )
            self._parking.put(parked)
        super().evict(holding)

    def recall(self, tokens: Sequence[int], key: AdapterKey) -> None:
        """Move a parked sequence back in if it has clearly more of `tokens` than what is here."""
        parked, count = self._parking.find(tokens, key)
        if parked is None or count < LEAST_TOKENS:
            return
        if count < LEAST_TOKENS + self.find_prefix(tokens, key, moved_too=True).tokens:
            return
        self._parking.take(parked)
        holding = self.adopt(len(parked.tokens), key)
        if holding is None:
            self._parking.put(parked)
        elif write_state(self._context, holding.number, parked.cells):
            self.cells.append(holding.number, parked.tokens)
            holding.exact_tokens = parked.exact_tokens
            self.keep(holding)
        else:
            self.drop(holding)

    def set_aside(self) -> None:
        """Move kept sequences out of the way of live ones, the least recently used first."""
        if self.cells.unified and not self._on_gpu:
            live = self.cells.capacity - self.available()
            while self.cells.used - live > MOST_CELLS_BESIDE:
                self.evict(min(self._kept(), key=lambda holding: holding.used))

    def clear(self) -> None:
        """Forget everything, what is parked too."""
        super().clear()
        self._parking.clear()
