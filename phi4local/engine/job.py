"""What goes through the scheduler: requests, and short tasks between two steps."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from phi4local.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Event, Request
    from phi4local.engine.keeping import Keeping

_Result = TypeVar("_Result")


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


class Task(Generic[_Result]):
    """Work on the cache that waits for the end of a step.

    Args:
        work: called on the scheduler's thread.
    """

    def __init__(self, work: Callable[[Keeping], _Result]) -> None:
        self._work = work
        self._future: Future[_Result] = Future()

    def run(self, keeping: Keeping) -> None:
        """Do it; the scheduler's side."""
        if self._future.set_running_or_notify_cancel():
            self._future.set_result(self._work(keeping))

    def fail(self, error: Exception) -> None:
        """Let `result` raise what `run` raised."""
        self._future.set_exception(error)

    def cancel(self) -> None:
        """Give up: the engine closes."""
        self._future.cancel()

    def result(self) -> _Result:
        """Wait for it, and return or raise what came out."""
        try:
            return self._future.result()
        except CancelledError:
            raise EngineError("the model is closed", hint="load it again") from None
