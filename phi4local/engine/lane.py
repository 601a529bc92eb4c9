"""The sequences of one context, and the steps that advance them together.

Each step makes one batch: the next token of everyone who generates, and a piece of everyone's prompt who does
not yet. Its size keeps the step within its time limit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from phi4local.engine.cache import Prefix
from phi4local.engine.cells import common_prefix
from phi4local.engine.pace import STEP_SECONDS, Pace, divide
from phi4local.engine.parking import ParkingCache
from phi4local.engine.rotation import Rotation
from phi4local.engine.speculation import Speculation, take_tokens
from phi4local.engine.trial import Trial
from phi4local.errors import EngineError, NonFiniteLogitsError, Phi4LocalError
from phi4local.native.context import Piece

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phi4local.engine.cache import Cache
    from phi4local.engine.model import LoadedModel
    from phi4local.engine.sequence import Sequence
    from phi4local.native.context import NativeContext

REPEATABLE_TOKENS = 16
"""Prompt tokens in each step of a request with a seed: always the same, so that sums come out the same."""
WORTH_WAITING_TOKENS = 32
"""A prompt waits until another one has evaluated all that both begin with, if that is at least this long."""
LEAST_PROMPT_TOKENS = 4
"""Prompt tokens of a step even when those who generate already fill it: nobody starves."""
ALONE_TOKENS = 16
"""Prompt tokens of a step that nobody who generates waits for, however slow the model. Where reading the
weights takes the limit by itself, as 14 billion do on a laptop, fewer would only read them more often."""


class Lane:
    """One context with its cache and its live sequences.

    Args:
        model: whose context it is.
        context: a context of the model.
    """

    def __init__(self, model: LoadedModel, context: NativeContext) -> None:
        self.context = context
        settings = model.facts.settings
        self.cache = ParkingCache(context, settings.parked_tokens or 0, on_gpu=model.cells_on_gpu)
        self.limit_tokens = context.context_tokens
        self.live: list[Sequence] = []
        self._model = model
        step_seconds = STEP_SECONDS if settings.step_seconds is None else settings.step_seconds
        self._pace = Pace(step_seconds, context.batch_tokens)
        self._rotation, self._trial = Rotation(), Trial()
        self._speculation = Speculation(model, step_seconds, self.limit_tokens)

    def step(self) -> None:
        """Advance the sequences of one adapter set by one batch."""
        accused = self._trial.next(self.live)
        members = self._rotation.choose(self.live if accused is None else [accused], time.perf_counter())
        for sequence in members:
            if sequence.holding is None:
                self._place(sequence)
        if accused is not None and accused.holding is None:
            self._trial.give_up()
        if not (batch := self._fitting(self._compose(members))):
            return
        self._speculation.propose(batch, self.context, self.cache, trial=accused is not None)
        self._model.adapters.use(self.context, members[0].key)
        started = time.perf_counter()
        try:
            rows = self.context.decode_batch([next_piece(each, self.cache, count) for each, count in batch])
        except EngineError as error:
            self.fail_all(error)
            return
        self._speculation.observe(batch, self.context, started)
        self._advance(batch, rows)
        if any(count > 1 for _, count in batch):
            self._pace.observe(sum(count for _, count in batch), time.perf_counter() - started)

    def end_unwanted(self) -> None:
        """Finish who was cancelled and whose time is up."""
        now = time.perf_counter()
        for sequence in list(self.live):
            if (cancelled := sequence.job.cancelled.is_set()) or now > sequence.deadline:
                self.remove(sequence)
                sequence.finish("cancelled" if cancelled else "time")

    def outgrown(self) -> list[Sequence]:
        """Return the sequences that have become too long for this lane."""
        return [sequence for sequence in self.live if len(sequence.tokens) > self.limit_tokens]

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out; its cells are kept."""
        self.live.remove(sequence)
        if sequence.holding is not None:
            self.cache.keep(sequence.holding)
            sequence.holding = None

    def fail_all(self, error: BaseException) -> None:
        """End every sequence with an error and forget all cells: what they hold is not known any more."""
        ended, self.live = self.live, []
        self.cache.clear()
        for sequence in ended:
            sequence.fail(error)

    def _place(self, sequence: Sequence) -> None:
        """Give a sequence its cells, unless another one is about to evaluate its prefix, or all are taken."""
        tokens, prefix = sequence.tokens[:-1], Prefix(None, 0)  # the last token's logits are needed
        if not sequence.repeatable:
            self.cache.recall(tokens, sequence.key)
            prefix = self.cache.find_prefix(tokens, sequence.key, moved_too=sequence.may_use_moved_cells)
            earlier = self.live[: self.live.index(sequence)]
            least = max(WORTH_WAITING_TOKENS, prefix.tokens + 1)
            if any(will_evaluate(other, sequence, least) for other in earlier):
                return
        holders = [other for other in self.live if other.holding is not None]
        missing = len(sequence.tokens) - prefix.tokens + len(holders) * REPEATABLE_TOKENS
        if holders and self.cache.available() < missing:
            return
        holding = self.cache.begin(prefix, sequence.key, bare=sequence.repeatable and not holders)
        sequence.begin(holding, self.cache.cells.length(holding.number), self.context)
        self.cache.set_aside()

    def _compose(self, members: Iterable[Sequence]) -> list[tuple[Sequence, int]]:
        """Choose how many tokens of whom the next batch has."""
        batch, prompts = [], []
        for sequence in members:
            if sequence.holding is not None:
                sequence.make_room(self.cache)
                missing = len(sequence.tokens) - self.cache.cells.length(sequence.holding.number)
                if missing == 1:
                    batch.append((sequence, 1))
                else:
                    prompts.append((sequence, missing))
        budget = max(self._pace.step_tokens - len(batch), LEAST_PROMPT_TOKENS if batch else ALONE_TOKENS)
        room = self.context.batch_tokens - len(batch)
        return batch + share_out(min(budget, room), prompts) if room >= REPEATABLE_TOKENS else batch

    def _fitting(self, batch: list[tuple[Sequence, int]]) -> list[tuple[Sequence, int]]:
        """Evict kept sequences to make room for a batch; if that is not enough, whoever came last waits."""
        while batch and not self.cache.make_room(sum(count for _, count in batch)):
            holders = [sequence for sequence in self.live if sequence.holding is not None]
            victim = min(holders, key=lambda s: (s.job.request.priority, -s.job.submitted))
            if victim.holding is not None:
                self.cache.drop(victim.holding)
                victim.holding = None
            batch = [(sequence, count) for sequence, count in batch if sequence is not victim]
        return batch

    def _advance(self, batch: list[tuple[Sequence, int]], rows: list[int]) -> None:
        """Write down what was evaluated, and let who is complete choose a token."""
        for (sequence, count), row in zip(batch, rows, strict=True):
            if sequence.holding is None:
                continue
            cells, number = self.cache.cells, sequence.holding.number
            place = cells.length(number)
            cells.append(number, sequence.tokens[place : place + count] + sequence.draft)
            if not sequence.generating:
                sequence.job.step(place + count, len(sequence.tokens))
            if place + count == len(sequence.tokens):
                self._choose(sequence, row)

    def _choose(self, sequence: Sequence, row: int) -> None:
        try:
            reason = take_tokens(sequence, self.context, self.cache, row)
        except NonFiniteLogitsError as error:
            self._on_poison(sequence, error)
        except Phi4LocalError as error:
            self.remove(sequence)
            sequence.fail(error)
        else:
            self._trial.acquit(sequence)
            if reason is not None:
                self.remove(sequence)
                sequence.finish(reason)

    def _on_poison(self, sequence: Sequence, error: NonFiniteLogitsError) -> None:
        """End a sequence whose logits are not numbers, if it is the guilty one, and wipe the cells."""
        guilty = self._trial.convicts(sequence, self.live)
        for other in self.live:
            other.holding = None
        self.cache.wipe()
        if guilty:
            self.live.remove(sequence)
            sequence.fail(error)


def will_evaluate(other: Sequence, sequence: Sequence, tokens: int) -> bool:
    """Return whether the prompt that `other` is evaluating begins with so many tokens of `sequence`."""
    if other.generating or other.key != sequence.key:
        return False
    return common_prefix(other.tokens, sequence.tokens[:-1]) >= tokens


def next_piece(sequence: Sequence, cache: Cache, count: int) -> Piece:
    """Return the next `count` tokens of a sequence, as part of a batch."""
    number = sequence.holding.number if sequence.holding is not None else 0
    place = cache.cells.length(number)
    tokens = sequence.tokens[place : place + count] + sequence.draft
    complete = place + count == len(sequence.tokens)
    return Piece(number, place, tokens, 1 + len(sequence.draft) if complete else 0)


def share_out(budget: int, prompts: list[tuple[Sequence, int]]) -> list[tuple[Sequence, int]]:
    """Divide the tokens of a step among prompts, given with their missing tokens; high priorities first.

    A request with a seed gets its whole piece or waits for the next step; the first one never waits.
    """
    chosen: list[tuple[Sequence, int]] = []
    for sequence, missing in sorted(prompts, key=lambda prompt: -prompt[0].job.request.priority):
        piece = min(missing, REPEATABLE_TOKENS)
        if sequence.repeatable and (piece <= budget or not chosen):
            chosen.append((sequence, piece))
            budget -= piece
    others = [(sequence, missing) for sequence, missing in prompts if not sequence.repeatable]
    for priority in sorted({sequence.job.request.priority for sequence, _ in others}, reverse=True):
        some = [(s, missing) for s, missing in others if s.job.request.priority == priority]
        shares = divide(max(0, budget), [missing for _, missing in some])
        budget -= sum(shares)
        chosen += [(s, count) for (s, _), count in zip(some, shares, strict=True) if count]
    return chosen
