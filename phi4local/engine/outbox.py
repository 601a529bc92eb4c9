"""Events on their way out of the engine, handed over while the next step computes."""

from __future__ import annotations

import queue
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Event
    from phi4local.engine.job import Job

    Deliver = Callable[[Event | BaseException], None]


class Outbox:
    """Hands events over on a thread of its own, in order.

    Whoever takes an event wakes other threads, encodes and writes; between two steps the GPU, or the other
    cores, would wait for all of that, so the scheduler only puts events down there and lets them go when it
    is about to compute. `put` and `release` belong to one thread.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Deliver, Event | BaseException]] = []
        self._released: queue.SimpleQueue[list[tuple[Deliver, Event | BaseException]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="phi4local-outbox", daemon=True)
        self._thread.start()

    def take(self, job: Job) -> Job:
        """Return the same job with its events put down here."""
        return replace(job, emit=partial(self.put, job.emit))

    def put(self, deliver: Deliver, event: Event | BaseException) -> None:
        """Put an event down."""
        self._waiting.append((deliver, event))

    def release(self) -> None:
        """Let go what was put down."""
        if self._waiting:
            self._released.put(self._waiting)
            self._waiting = []

    def close(self) -> None:
        """Hand over everything that is left, and end the thread."""
        self.release()
        self._released.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (events := self._released.get()) is not None:
            for deliver, event in events:
                deliver(event)
