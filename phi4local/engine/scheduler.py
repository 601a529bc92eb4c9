"""The one thread that owns the contexts: it takes requests, and advances all of them step by step."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from phi4local.engine.contention import Contention
from phi4local.engine.job import Job, Task
from phi4local.engine.keeping import Keeping
from phi4local.engine.lanes import Lanes
from phi4local.engine.outbox import Outbox
from phi4local.engine.sequence import Sequence
from phi4local.errors import EngineBusyError, Phi4LocalError
from phi4local.native.spinning import Spinning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.engine.events import Request
    from phi4local.engine.keeping import KeptState
    from phi4local.engine.lane import Lane
    from phi4local.engine.model import LoadedModel

__all__ = ["Job", "Scheduler"]

_Result = TypeVar("_Result")


class Scheduler:
    """Runs jobs together, up to `parallel` of them, on its own thread.

    Jobs wait in line by priority, then by arrival. Who comes when `queue_limit` are waiting is refused.

    Args:
        model: owned by the scheduler from now on; freed by `close`.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._lanes = Lanes(model)
        self._keeping = Keeping(model, self._lanes)
        self._outbox = Outbox()
        self._contention = Contention(Spinning(), model.facts.settings.threads or 1)
        self._parallel = model.facts.settings.parallel or 1
        self._queue_limit = model.facts.settings.queue_limit or 1
        self._inbox: queue.SimpleQueue[Sequence | Task[Any] | None] = queue.SimpleQueue()
        self._line: list[tuple[int, int, Sequence]] = []
        self._numbers = itertools.count()
        self._closing = False
        self._entering = threading.Lock()
        """Held while the model is used on a caller's thread: it must not be freed meanwhile."""
        self._thread = threading.Thread(target=self._run, name="phi4local-scheduler", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Put a job in line. Its prompt is tokenized here, on the caller's thread, where nobody waits."""
        try:
            with self._entering:
                self._inbox.put(Sequence(self._model, self._outbox.take(job)))
        except Phi4LocalError as error:
            job.fail(error)

    def save(self, conversation: Request, path: Path, *, most_bytes: int) -> KeptState:
        """Write the cached cells of a conversation to a file, between two steps; see `Keeping.save`."""
        with self._entering:
            ids = self._model.tokenize(conversation.segments)
        key = self._model.adapters.key(conversation.adapters)
        return self._do(Task(lambda keeping: keeping.save(ids, key, path, most_bytes=most_bytes)))

    def restore(self, path: Path) -> KeptState:
        """Put saved cells back, between two steps; see `Keeping.restore`."""
        return self._do(Task(lambda keeping: keeping.restore(path)))

    def _do(self, task: Task[_Result]) -> _Result:
        """Do something with the cache on the scheduler's thread, and wait for it.

        Raises:
            EngineError: the model is closed.
        """
        self._inbox.put(task)
        if self._closing:
            task.cancel()
        return task.result()

    def close(self) -> None:
        """Cancel what runs and what waits, end the thread and free the model."""
        self._closing = True
        self._inbox.put(None)
        self._thread.join()
        with self._entering:
            self._model.close()
        self._end_everyone()  # who came after the thread's last look
        self._outbox.close()

    def _run(self) -> None:
        while self._receive(wait=not self._line and not any(lane.live for lane in self._lanes)):
            self._contention.observe()
            if self._line:
                self._leave_line()
            for lane in self._lanes:
                if lane.live:
                    self._guard(partial(self._step, lane), lane.fail_all)
            self._outbox.release()
        self._contention.close()
        self._end_everyone()

    def _receive(self, *, wait: bool) -> bool:
        """Take everything that came; return False when the engine closes."""
        while wait or not self._inbox.empty():
            wait = False
            item = self._inbox.get()
            if item is None:
                return False
            if isinstance(item, Task):
                self._guard(partial(item.run, self._keeping), item.fail)
            elif len(self._line) - self._free_places() >= self._queue_limit:
                item.fail(EngineBusyError(waiting=len(self._line), running=self._live()))
            else:
                heapq.heappush(self._line, (-item.job.request.priority, next(self._numbers), item))
        return True

    def _leave_line(self) -> None:
        """Start whose turn it is, and end at once who was cancelled while waiting."""
        if any(sequence.job.cancelled.is_set() for _, _, sequence in self._line):
            line, self._line = self._line, []
            for entry in line:
                if entry[-1].job.cancelled.is_set():
                    entry[-1].finish("cancelled")
                else:
                    heapq.heappush(self._line, entry)
        while self._line and self._free_places():
            sequence = heapq.heappop(self._line)[-1]
            sequence.start()
            self._enter_lane(sequence)

    def _enter_lane(self, sequence: Sequence) -> None:
        def enter() -> None:  # there may be no memory for a second context
            self._lanes.lane_for(len(sequence.tokens)).live.append(sequence)

        self._guard(enter, sequence.fail)

    def _step(self, lane: Lane) -> None:
        lane.end_unwanted()
        for sequence in lane.outgrown():
            lane.remove(sequence)
            self._enter_lane(sequence)
        if lane.live:
            lane.step()

    @staticmethod
    def _guard(work: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the worker loop: the next request must be served
            failed(error)

    def _live(self) -> int:
        return sum(len(lane.live) for lane in self._lanes)

    def _free_places(self) -> int:
        return max(0, self._parallel - self._live())

    def _end_everyone(self) -> None:
        """Cancel all sequences in work and in line, those too that were not taken from the inbox yet."""
        everyone = [sequence for lane in self._lanes for sequence in lane.live]
        everyone += [sequence for _, _, sequence in self._line]
        for lane in self._lanes:
            lane.live.clear()
        self._line.clear()
        while not self._inbox.empty():
            item = self._inbox.get()
            if isinstance(item, Task):
                item.cancel()
            elif item is not None:
                everyone.append(item)
        for sequence in everyone:
            sequence.finish("cancelled")
