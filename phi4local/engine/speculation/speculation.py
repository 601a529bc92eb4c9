"""How many tokens each sequence of a step may guess: as many as pay on this machine, with this text."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from phi4local.engine.speculation.costs import BatchCosts

if TYPE_CHECKING:
    from collections.abc import Sequence as SequenceOf

    from phi4local.engine.cache import Cache
    from phi4local.engine.model import LoadedModel
    from phi4local.engine.sequence import Sequence
    from phi4local.native.context import NativeContext

LEAST_GAIN = 1.05
"""By how much a draft has to make the step better: guesses about chances and times are not exact."""
LIKELY = 0.5
"""With `lookup` a draft goes on while all of it is at least this likely: it must not depend on a clock."""
SLOPE_ON_CPU = 0.6
SLOPE_ON_GPU = 0.03
"""Cost of one more token before it was measured. A first try that does not pay should be a rare one."""


class Speculation:
    """The drafts of one lane.

    Args:
        model: whose settings say when to draft.
        step_seconds: longest step, unless two tokens one by one take longer; 0 for no limit.
        limit_tokens: longest sequence of the lane.
    """

    def __init__(self, model: LoadedModel, step_seconds: float, limit_tokens: int) -> None:
        self._mode = model.facts.settings.speculation or "off"
        self._step_seconds = step_seconds or math.inf
        self._limit_tokens = limit_tokens
        self._costs = BatchCosts(SLOPE_ON_GPU if model.cells_on_gpu else SLOPE_ON_CPU)

    def propose(
        self, batch: SequenceOf[tuple[Sequence, int]], context: NativeContext, cache: Cache, *, trial: bool
    ) -> None:
        """Give each sequence of a step its draft: an empty one when a prompt is in the step.

        Args:
            batch: sequences with the number of their tokens in the step.
            context: it has rows of logits and room in a batch for so many tokens.
            cache: has room for the tokens of the step; kept sequences make more.
            trial: the one sequence is suspected of values that are not numbers.
        """
        for sequence, _ in batch:
            sequence.draft = []
        if self._mode == "off" or trial or not _all_generate(batch, cache):
            return
        most = min(context.rows, context.batch_tokens) - len(batch)
        if cache.cells.unified and cache.cells.free(0) < len(batch) + most:
            most = min(most, cache.available() - len(batch))
        tokens = len(batch)
        for sequence, _ in batch:
            if sequence.drafter is not None and most > 0:
                room = min(most, sequence.draft_room, self._limit_tokens - len(sequence.tokens))
                count = self._count(sequence, sequence.drafter.expected_tokens(room), tokens, len(batch))
                sequence.draft = sequence.drafter.draft(count)
                tokens += len(sequence.draft)
                most -= len(sequence.draft)
        if tokens > len(batch):
            cache.make_room(tokens)

    def observe(
        self, batch: SequenceOf[tuple[Sequence, int]], context: NativeContext, started: float
    ) -> None:
        """Take the time of a step whose decode has returned, if everyone generated."""
        if self._mode == "auto" and all(count == 1 for _, count in batch):
            context.wait()
            tokens = sum(1 + len(sequence.draft) for sequence, _ in batch)
            self._costs.observe(tokens, time.perf_counter() - started)

    def _count(self, sequence: Sequence, expected: SequenceOf[float], tokens: int, sequences: int) -> int:
        if self._mode == "lookup":
            return _likely(expected)
        if sequence.repeatable or sequence.drafter is None:
            return 0
        return self._best(expected, tokens, sequences, sequence.drafter.seconds_per_guess)

    def _best(
        self, expected: SequenceOf[float], tokens: int, sequences: int, seconds_per_guess: float
    ) -> int:
        """Return the length of the draft with the highest gain, 0 when none is worth it.

        A step of c(n) seconds that gives sequence i on average Eᵢ tokens is judged by ∏ Eᵢ / c(n)ᴺ, for N
        sequences: with one that is its speed, and with several a gain of one must outweigh what all others
        lose.

        Args:
            expected: tokens that drafts of 0, 1, … tokens give on average.
            tokens: of the step without this draft.
            sequences: in the step.
            seconds_per_guess: what it takes to make each guess.
        """
        without = self._costs.seconds(tokens)
        if without is None:
            return 0
        best, most = 0, math.log(LEAST_GAIN)
        for count in range(1, len(expected)):
            seconds = (self._costs.seconds(tokens + count) or without) + count * seconds_per_guess
            if seconds > max(self._step_seconds, 2 * without):
                break
            gain = math.log(expected[count]) - sequences * math.log(seconds / without)
            if gain > most:
                best, most = count, gain
        return best


def _all_generate(batch: SequenceOf[tuple[Sequence, int]], cache: Cache) -> bool:
    """Return whether a step has the newest token of everyone and nothing else."""
    return all(
        sequence.generating
        and sequence.holding is not None
        and cache.cells.length(sequence.holding.number) + 1 == len(sequence.tokens)
        for sequence, _ in batch
    )


def _likely(expected: SequenceOf[float]) -> int:
    """Return the longest draft that is likely as a whole. Example: [1, 1.9, 2.7, 3.1] → 2."""
    count = 0
    while count + 1 < len(expected) and expected[count + 1] - expected[count] >= LIKELY:
        count += 1
    return count
