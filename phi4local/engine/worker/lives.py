"""The lives of the child process, one after another: who gets the orders, and when a new life begins."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

from phi4local.engine.worker import protocol
from phi4local.engine.worker.life import Child
from phi4local.engine.worker.orders import Line, Order
from phi4local.engine.worker.pipes import start_thread
from phi4local.engine.worker.restarts import RestartLimit
from phi4local.errors import EngineCrashedError, EngineError, EngineHungError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.model import ModelFacts
    from phi4local.engine.worker.life import Take
    from phi4local.engine.worker.loading import Loading
    from phi4local.engine.worker.orders import Deliver


class Lives:
    """Keeps one child process, and a line of orders for it.

    A child that dies while orders wait is replaced at once, in a thread of its own. One that dies with
    nothing to do is replaced when the next order comes: nobody waits, and memory may be what killed it.
    """

    def __init__(self, hang_seconds: float) -> None:
        self._hang_seconds = hang_seconds
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()  # for everything below
        self._line = Line()
        self._limit = RestartLimit()
        self._loading: Loading | None = None
        self._ready = self._starting = self._closed = False
        self._starter: threading.Thread | None = None
        with self._lock:  # its end, however soon, is told after this
            self._child = Child(hang_seconds, self._on_end)

    @property
    def process_id(self) -> int:
        """The process id of the newest child."""
        return self._child.process_id

    def load(self, loading: Loading, on_loading: Callable[[float], None] | None) -> ModelFacts:
        """Load a file into the first child, and wait until it is ready.

        Raises:
            EngineError: the child refused the file, died over it, or is closed.
        """
        with self._lock:
            self._loading, self._starting, child = loading, True, self._child
        try:
            facts = loading.into(child, on_loading)
        except BaseException as error:
            self._on_failed_start(error)
            raise
        self._on_start(child)
        return facts

    def place(self, message: dict[str, Any], take: Deliver) -> Order:
        """Give a message to the child, or to the next one; `take` gets its replies or the error.

        Raises:
            EngineError: closed, or nothing was loaded.
            InvalidSettingError: the message is too large.
        """
        number = next(self._numbers)
        order = Order(number, protocol.encode(message | {"id": number}), take)
        with self._lock:
            self._needed_loading()
            self._line.add(order)
            self._advance()
        return order

    def cancel(self, order: Order) -> bool:
        """Give an order up; return whether it was still waiting here, so that no reply will come."""
        with self._lock:
            order.cancelled = True
            if self._line.drop(order):
                return True
            self._child.cancel(order.number)
            return False

    def close(self) -> None:
        """End the child; whoever waits is told."""
        with self._lock:
            self._closed, self._ready = True, False
            child, starter, waiting = self._child, self._starter, self._line.take_all()
        child.close()
        for order in waiting:
            order.fail(EngineError("the model was closed", hint="load it again"))
        if starter is not None:
            starter.join()

    def _advance(self) -> None:
        """Send what may be sent now, or start a child for it."""
        if self._ready:
            while (order := self._line.next()) is not None:
                if not self._child.send(order.number, order.data, self._taker(order)):
                    self._line.put_back(order)  # its end is about to be told: see `_on_end`
                    return
        elif self._line and not self._starting and not self._closed:
            self._starting = True
            self._starter = start_thread(self._start_again)

    def _taker(self, order: Order) -> Take:
        def take(reply: dict[str, Any] | EngineError) -> None:
            if isinstance(reply, EngineError):
                self._on_lost(order, reply)
                return
            order.answered = True
            if order.deaths:
                with self._lock:
                    self._line.acquit(order)
                    self._advance()
            order.take(protocol.error_from_json(reply) if reply["type"] == "failed" else reply)

        return take

    def _on_lost(self, order: Order, death: EngineError) -> None:
        with self._lock:
            again = not self._closed and self._line.after_death(order)
            self._advance()
        if not again:
            order.fail(death)

    def _on_end(self, child: Child) -> None:
        with self._lock:
            self._ready = False
            if not child.closed:
                self._limit.note_death(child.death(), early=not child.spoke)
            self._advance()

    def _start_again(self) -> None:
        try:
            self._limit.check()
            with self._lock:
                loading = self._needed_loading()
                loading.check_file()
                child = self._child = Child(self._hang_seconds, self._on_end)
            loading.into(child)
        except Phi4LocalError as error:
            self._on_failed_start(error)
        else:
            self._on_start(child)

    def _needed_loading(self) -> Loading:
        if self._closed or self._loading is None:
            what = "the model is closed" if self._closed else "no model is loaded"
            raise EngineError(what, hint="load one first")
        return self._loading

    def _on_start(self, child: Child) -> None:
        with self._lock:
            self._starting = False
            self._ready = child.alive and not self._closed
            self._advance()

    def _on_failed_start(self, error: BaseException) -> None:
        self._child.close()
        died = isinstance(error, EngineCrashedError | EngineHungError)
        with self._lock:
            self._starting = False
            lost = self._line.after_failed_start(died=died and not self._closed)
            self._advance()
        for order in lost:
            order.fail(error)
