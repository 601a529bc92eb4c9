"""The KV cache of one context: live sequences, kept ones, and the prefixes that they share.

A finished sequence keeps its cells until room is needed, the least recently used one going first. A new
prompt begins with the longest prefix that any sequence of the same key holds: the cells are tagged for both,
neither copied nor evaluated again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.engine.cells import Cells, common_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.native.context import NativeContext

AdapterKey = tuple[tuple[str, float], ...]
"""Digests and scales of the adapters that cells were computed with; empty for the base model."""

_WORTH_COPYING = 64
"""A live stream is copied as a whole; for fewer tokens than this, evaluating them is no slower."""


@dataclass(slots=True)
class Holding:
    """One native sequence.

    Attributes:
        number: its number in llama.cpp.
        key: the adapters that its cells were computed with.
        live: a request is working on it; else it is kept, or empty.
        used: when it was last used, as a counter.
        exact_tokens: tokens before any that were moved; a moved cell is an approximation.
    """

    number: int
    key: AdapterKey = ()
    live: bool = False
    used: int = 0
    exact_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """The longest beginning of a prompt that is in the cache: which sequence holds it, and its tokens."""

    holding: Holding | None
    tokens: int


class Cache:
    """Sequences of one context, with `Cells` and llama.cpp kept in step.

    Args:
        context: whose cache this is.
    """

    def __init__(self, context: NativeContext) -> None:
        self._context = context
        # `context_tokens` are the cells of the whole pool when unified, else of each stream.
        self.cells = Cells(context.context_tokens, sequences=context.sequences, unified=context.unified)
        self._holdings = [Holding(number) for number in range(context.sequences)]
        self._clock = itertools.count(1)

    def find_prefix(self, tokens: Sequence[int], key: AdapterKey, *, moved_too: bool) -> Prefix:
        """Return the longest prefix of `tokens` that a sequence of the same key holds.

        Args:
            tokens: the prompt without its last token, whose logits are needed.
            key: the adapters that it is for.
            moved_too: cells that were moved by a context shift may be used as well.
        """
        best = Prefix(None, 0)
        for holding in self._holdings:
            if holding.key == key and self.cells.length(holding.number) > best.tokens:
                count = common_prefix(self.cells.tokens(holding.number), tokens)
                if holding.exact_tokens is not None and not moved_too:
                    count = min(count, holding.exact_tokens)
                if count > best.tokens:
                    best = Prefix(holding, count)
        return best

    def begin(self, prefix: Prefix, key: AdapterKey, *, bare: bool = False) -> Holding:
        """Return a live sequence that holds `prefix`, or nothing where copying it would not pay.

        With `bare`, when nobody is live, it gets the first cells and no others beside: attention's sums are
        divided by how far the cells in use reach.

        A kept sequence that is a prefix as a whole is gone on with; so is the one that would be evicted
        to make a place for the new one.
        """
        if bare and self.cells.unified:
            self.make_room(self.cells.capacity)
            self._context.wipe(zero=False)
        source = prefix.holding
        target = self._idle(prefix)
        if target is source:
            self.trim(target, prefix.tokens)
        else:
            self.evict(target)
            if source is not None and self._worth_sharing(prefix):
                self._context.share(source.number, target.number, prefix.tokens)
                self.cells.share(source.number, target.number, prefix.tokens)
                target.exact_tokens = source.exact_tokens
                source.used = next(self._clock)
                self.trim(target, prefix.tokens)
        target.key, target.live, target.used = key, True, next(self._clock)
        return target

    def adopt(self, tokens: int, key: AdapterKey) -> Holding | None:
        """Return an empty live sequence with room for `tokens`, or `None` when there is none."""
        idle = [holding for holding in self._holdings if not holding.live]
        if not idle or tokens > self.available():
            return None
        holding = min(idle, key=lambda h: (self.cells.length(h.number) > 0, h.used))
        self.evict(holding)
        holding.key, holding.live = key, True
        self.make_room(tokens)
        return holding

    def trim(self, holding: Holding, tokens: int) -> None:
        """Drop what a sequence holds after its first `tokens`."""
        self._context.forget_from(tokens, sequence=holding.number)
        self.cells.cut_out(holding.number, tokens)
        if holding.exact_tokens is not None and tokens <= holding.exact_tokens:
            holding.exact_tokens = None

    def keep(self, holding: Holding) -> None:
        """End the work on a sequence; its cells stay until room is needed."""
        holding.live = False
        holding.used = next(self._clock)

    def drop(self, holding: Holding) -> None:
        """End the work on a sequence and free its cells."""
        self.trim(holding, 0)
        holding.live = False

    def shift(self, holding: Holding, start: int, end: int) -> bool:
        """Drop tokens `start` to `end` of a sequence and move the rest down; False when that cannot be.

        Cells that another sequence shares cannot move; neither can those of some architectures.
        """
        if not self._context.can_move_cells() or self.cells.any_shared(holding.number, end):
            return False
        self._context.cut_out(holding.number, start, end)
        self.cells.cut_out(holding.number, start, end)
        exact = start if holding.exact_tokens is None else holding.exact_tokens
        holding.exact_tokens = min(start, exact)
        return True

    def evict(self, holding: Holding) -> None:
        """Free the cells of a kept sequence because others need them."""
        self.drop(holding)

    def make_room(self, tokens: int) -> bool:
        """Evict kept sequences, the least recently used first, until `tokens` cells of the pool are free."""
        if not self.cells.unified:
            return True
        while self.cells.free(0) < tokens:
            kept = list(self._kept())
            if not kept:
                return False
            self.evict(min(kept, key=lambda holding: holding.used))
        return True

    def available(self) -> int:
        """Return how many cells live sequences leave free: kept ones would go."""
        if not self.cells.unified:
            return self.cells.capacity
        return self.cells.capacity - self.cells.distinct(h.number for h in self._holdings if h.live)

    def clear(self) -> None:
        """Forget everything: after an error nobody knows what the cells hold."""
        for holding in self._holdings:
            self.drop(holding)

    def wipe(self) -> None:
        """Forget everything, and overwrite the numbers in the cells with zeros."""
        self.clear()
        self._context.wipe()

    def _kept(self) -> Iterator[Holding]:
        return (h for h in self._holdings if not h.live and self.cells.length(h.number))

    def _idle(self, prefix: Prefix) -> Holding:
        """Choose the native sequence for a new live one."""
        source = prefix.holding
        if source is not None and not source.live:
            whole = prefix.tokens == self.cells.length(source.number)
            if whole or (not self.cells.unified and self._worth_sharing(prefix)):  # spares a copy
                return source
        idle = [holding for holding in self._holdings if not holding.live]
        return min(idle, key=lambda h: (self.cells.length(h.number) > 0, h.used))

    def _worth_sharing(self, prefix: Prefix) -> bool:
        return self.cells.unified or prefix.tokens >= _WORTH_COPYING
