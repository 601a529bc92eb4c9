"""A request on its way through the scheduler."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Event, Request


@dataclass(slots=True)
class Job:
    """A request, who hears of it, and how far it is.

    Attributes:
        request: what was asked.
        emit: takes its events, and at most one error.
        step: called after each finished step of the prompt with evaluated and all tokens: a sign of life.
        cancelled: set by anybody, seen at the next step.
        finished: set by the scheduler after the last event.
        submitted: when it came, in seconds of `time.perf_counter`.
    """

    request: Request
    emit: Callable[[Event | BaseException], None]
    step: Callable[[int, int], None] = lambda _done, _all: None
    cancelled: threading.Event = field(default_factory=threading.Event)
    finished: threading.Event = field(default_factory=threading.Event)
    submitted: float = field(default_factory=time.perf_counter)

    def fail(self, error: BaseException) -> None:
        """End it with an error."""
        self.emit(error)
        self.finished.set()
