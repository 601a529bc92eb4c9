"""The one thread that owns a context: it takes requests in order and steps through them.

One sequence at a time for now; the seam around it (`submit`, `cancel`, events) is the one that many
sequences in a batch will have too.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local.engine.model import BATCH_TOKENS, LoadedModel
from phi4local.engine.sequence import Sequence
from phi4local.errors import EngineError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Event, Request

FIRST_CHUNK_TOKENS = 64
STEP_SECONDS = 0.25
"""A step of prompt evaluation should take no longer, so that cancelling takes effect soon."""


@dataclass(slots=True)
class Job:
    """A request on its way through the scheduler.

    Attributes:
        request: what was asked.
        emit: takes its events, and at most one error.
        step: called after each finished step with evaluated and all prompt tokens: a sign of life.
        cancelled: set by anybody, seen at the next step.
        finished: set by the scheduler after the last event.
    """

    request: Request
    emit: Callable[[Event | BaseException], None]
    step: Callable[[int, int], None] = lambda _done, _all: None
    cancelled: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """Runs jobs one after another on its own thread.

    Args:
        model: owned by the scheduler from now on; freed by `close`.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._cached: list[int] = []
        self._chunk_tokens = FIRST_CHUNK_TOKENS
        self._current: Job | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="phi4local-scheduler", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Put a job in line."""
        if self._closing:
            job.emit(EngineError("the model is closed", hint="load it again"))
        else:
            self._jobs.put(job)

    def close(self) -> None:
        """Cancel what runs and what waits, end the thread and free the model."""
        self._closing = True
        self._jobs.put(None)
        if self._current is not None:
            self._current.cancelled.set()
        self._thread.join()
        self._model.close()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._current = job
            if self._closing:
                job.cancelled.set()
            try:
                self._work(job)
            except Exception as error:  # noqa: BLE001 - the worker loop: the next request must be served
                if not isinstance(error, Phi4LocalError) or isinstance(error, EngineError):
                    self._cached.clear()  # what the cache holds is not known any more
                    self._model.context.forget_from(0)
                job.emit(error)
            job.finished.set()
            self._current = None

    def _work(self, job: Job) -> None:
        sequence = Sequence(self._model, job.request, job.emit)
        try:
            if not self._evaluate_prompt(job, sequence):
                sequence.finish("cancelled")
                return
            while (reason := sequence.take_token()) is None:
                if job.cancelled.is_set():
                    reason = "cancelled"
                    break
                token = sequence.generated[-1]
                self._model.context.decode((token,), len(self._cached))
                self._cached.append(token)
            sequence.finish(reason)
        finally:
            sequence.close()

    def _evaluate_prompt(self, job: Job, sequence: Sequence) -> bool:
        """Evaluate the part of the prompt that the cache does not hold; return False when cancelled."""
        prompt = sequence.prompt
        # The last token is always evaluated again: its logits are needed.
        place = 0 if sequence.repeatable else common_prefix(self._cached, prompt[:-1])
        sequence.reused_tokens = place
        self._model.context.forget_from(place)
        del self._cached[place:]
        while place < len(prompt):
            if job.cancelled.is_set():
                return False
            chunk_tokens = FIRST_CHUNK_TOKENS if sequence.repeatable else self._chunk_tokens
            chunk = prompt[place : place + chunk_tokens]
            started = time.perf_counter()
            self._model.context.decode(chunk, place)
            self._cached += chunk
            place += len(chunk)
            job.step(place, len(prompt))
            self._adapt_chunk(len(chunk), time.perf_counter() - started)
        return True

    def _adapt_chunk(self, tokens: int, seconds: float) -> None:
        if tokens < FIRST_CHUNK_TOKENS // 2:
            return  # too few to tell
        fitting = int(tokens * STEP_SECONDS / max(seconds, 1e-6))
        self._chunk_tokens = max(32, min(fitting, BATCH_TOKENS, self._model.context.batch_tokens))


def common_prefix(left: list[int], right: list[int]) -> int:
    """Return how many leading tokens are equal. Example: ([1, 2, 3], [1, 2, 9]) → 2."""
    for place, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return place
    return min(len(left), len(right))
