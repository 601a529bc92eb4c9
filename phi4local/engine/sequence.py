"""One request in work: its tokens, its text, its clock."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from phi4local.engine.answer import Answer
from phi4local.engine.events import ContextShifted, Finished, FinishReason, Timings, Usage
from phi4local.engine.sampling import TokenChooser
from phi4local.engine.speculation import drafter_for
from phi4local.engine.turns import Turns
from phi4local.errors import ContextTooLongError, InvalidSettingError
from phi4local.settings import DEFAULT_SAMPLING

if TYPE_CHECKING:
    from phi4local.engine.cache import AdapterKey, Cache, Holding
    from phi4local.engine.job import Job
    from phi4local.engine.model import LoadedModel
    from phi4local.native.context import NativeContext

ROOM_SHARE = 8
"""When the context is full, turns are dropped until one part in this many is free: each shift costs time."""


class Sequence:
    """The state of one request between two steps.

    Args:
        model: the model it runs on.
        job: what was asked, and who hears of it.

    Attributes:
        tokens: prompt and answer so far; what the cache does not hold of it is still to be evaluated.
        key: digests and scales of its adapters.
        deadline: when its time is up, in seconds of `time.perf_counter`.
        holding: its cells, or `None` while it waits for a prefix or for room.
        cut: whether its logits are cut on the device, so that only candidates reach this process.
        repeatable: has a seed, which promises the same answer again.
        drafter: guesses its next tokens, or `None` when nobody should.
        draft: guesses that the next batch evaluates behind its newest token.

    Raises:
        ContextTooLongError: the prompt leaves no room for an answer.
    """

    def __init__(self, model: LoadedModel, job: Job) -> None:
        self.job = job
        self.key: AdapterKey = model.adapters.key(job.request.adapters)
        self.holding: Holding | None = None
        self.cut = False
        self.tokens, starts = model.tokenize_turns(job.request)
        self._turns = Turns(starts)
        self._model = model
        self._prompt_tokens = len(self.tokens)
        self._reused_tokens: int | None = None
        sampling = job.request.sampling.filled_from(DEFAULT_SAMPLING)
        self.repeatable = sampling.seed is not None
        self.drafter = drafter_for(self.tokens, model, sampling)
        self.draft: list[int] = []
        self._answer = Answer(job.emit, sampling.stop or ())
        self._fit_prompt()
        self._chooser = TokenChooser(model.native, sampling, self.tokens)
        self._sampling_seconds = 0.0
        self.start()

    def start(self) -> None:
        """Start the clock: its turn in the line has come."""
        self._started = time.perf_counter()
        self.deadline = self._started + (self.job.request.max_seconds or math.inf)

    @property
    def generating(self) -> bool:
        """Whether its prompt is evaluated and the next step gives its next token."""
        return self._answer.tokens > 0

    @property
    def may_use_moved_cells(self) -> bool:
        """Whether it takes part in context shifts, and so accepts what they leave in the cache."""
        return bool(self._turns)

    def begin(self, holding: Holding, reused_tokens: int, context: NativeContext) -> None:
        """Take the cells to work with; the first time they tell how much was reused."""
        self.holding = holding
        self.cut = context.cut.use(holding.number, wanted=self._chooser.wants_cut)
        if self._reused_tokens is None:
            self._reused_tokens = reused_tokens

    @property
    def draft_room(self) -> int:
        """How many guesses make sense before the answer or its context ends."""
        limit = self.job.request.max_tokens or self._model.context_tokens
        return max(0, min(self._model.context_tokens - len(self.tokens), limit - self._answer.tokens) - 1)

    def take_token(self, context: NativeContext, row: int) -> FinishReason | None:
        """Choose the next token from the logits in `row`; return why the answer ends, if it does."""
        context.wait()  # for a GPU, so that its work is not counted as choosing
        started = time.perf_counter()
        choice = self._chooser.choose(context, row, cut=self.cut)
        self._sampling_seconds += time.perf_counter() - started
        self.tokens.append(choice.token)
        piece = self._model.piece(choice.token)
        request = self.job.request
        ended = piece is None and not request.ignore_end
        self._answer.add(choice, piece or b"")
        if ended or self._answer.stopped or self._chooser.done:
            return "stop"
        full = len(self.tokens) >= self._model.context_tokens and not self._turns
        if full or self._answer.tokens == request.max_tokens:
            return "length"
        return None

    def make_room(self, cache: Cache) -> None:
        """Drop the oldest turns when the context is full; what cannot be moved is evaluated again."""
        if len(self.tokens) < self._model.context_tokens or self.holding is None:
            return
        start, end = self._drop_turns()
        if not cache.shift(self.holding, start, end):
            cache.trim(self.holding, start)

    def finish(self, reason: FinishReason) -> None:
        """Emit the rest of the text and `Finished`."""
        stop_text = self._answer.finish()
        usage = Usage(
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self._reused_tokens or 0,
            generated_tokens=self._answer.tokens,
            drafted_tokens=self.drafter.drafted if self.drafter else 0,
            accepted_tokens=self.drafter.accepted if self.drafter else 0,
        )
        timings = Timings(
            queued_seconds=self._started - self.job.submitted,
            prompt_seconds=max(0.0, self._answer.first - self._started),
            generation_seconds=self._answer.last - self._answer.first,
            sampling_seconds=self._sampling_seconds,
        )
        self.job.emit(Finished(reason=reason, usage=usage, timings=timings, stop_text=stop_text))
        self.close()

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self.job.emit(error)
        self.close()

    def close(self) -> None:
        """Free the sampler chain and the drafter."""
        self._chooser.close()
        if self.drafter is not None:
            self.drafter.close()
        self.job.finished.set()

    def _fit_prompt(self) -> None:
        context_tokens = self._model.context_tokens
        if not self.tokens:
            raise InvalidSettingError("prompt", "is empty", hint="say something to the model")
        if len(self.tokens) >= context_tokens and self._turns:
            self._drop_turns()
        if len(self.tokens) >= context_tokens:
            raise ContextTooLongError(
                prompt_tokens=self._prompt_tokens,
                context_tokens=context_tokens,
                trained_context_tokens=self._model.trained_context_tokens,
            )

    def _drop_turns(self) -> tuple[int, int]:
        context_tokens = self._model.context_tokens
        needed = len(self.tokens) - context_tokens + max(1, context_tokens // ROOM_SHARE)
        start, end = self._turns.oldest(needed)
        del self.tokens[start:end]
        if self.drafter is not None:
            self.drafter.start_again()
        turns = self._turns.drop(start, end)
        self._answer.flush()
        self.job.emit(ContextShifted(turns=turns, tokens=end - start))
        return start, end
