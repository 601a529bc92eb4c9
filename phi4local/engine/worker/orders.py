"""Orders to the engine process that outlive its death: who is told, who is tried again, and when."""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.engine.worker import protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.errors import Phi4LocalError

    Deliver = Callable[[dict[str, Any] | Phi4LocalError], None]
    """Takes the replies to one order, in order; the last one ends it, and so does an error."""

MOST_DEATHS = 2
"""An order that was there when this many processes died gets the error: it may be what kills them."""


@dataclass(slots=True, eq=False)
class Order:
    """A message to the engine process, and who takes the replies.

    Attributes:
        number: what its replies are marked with.
        data: the encoded message.
        take: takes each reply, or the error that ends the order.
        deaths: processes that died while they had this order.
        answered: whether a part of the answer was handed over; then it cannot begin anew.
        cancelled: whether somebody gave it up; then it is not tried again.
    """

    number: int
    data: bytes
    take: Deliver
    deaths: int = 0
    answered: bool = False
    cancelled: bool = False

    def fail(self, error: BaseException) -> None:
        """End the order with its own copy of an error: many threads may raise it."""
        self.take(protocol.error_from_json(protocol.error_to_json(error)))

    def try_again(self) -> bool:
        """Note that a process died over it; return whether another one gets it."""
        self.deaths += 1
        return self.deaths < MOST_DEATHS and not self.answered and not self.cancelled


class Line:
    """The orders that wait for a process, or that a process has.

    What a dead process had and nobody heard of is tried again, once. It may have been the cause, so such
    orders are sent one by one, the next when the one before has its first text or its end: a guilty one meets
    its second death while the innocent ones still wait, and they go on in the process after it.

    Not locked: the owner is.
    """

    def __init__(self) -> None:
        self._fresh: collections.deque[Order] = collections.deque()
        self._suspects: collections.deque[Order] = collections.deque()
        self._on_trial: Order | None = None

    def __bool__(self) -> bool:
        return bool(self._fresh or self._suspects)

    def add(self, order: Order) -> None:
        """Let an order wait for a process."""
        (self._suspects if order.deaths else self._fresh).append(order)

    def put_back(self, order: Order) -> None:
        """Undo `next`."""
        self.acquit(order)
        (self._suspects if order.deaths else self._fresh).appendleft(order)

    def drop(self, order: Order) -> bool:
        """Take a waiting order out; return whether it was waiting."""
        for waiting in (self._fresh, self._suspects):
            if order in waiting:
                waiting.remove(order)
                return True
        return False

    def after_death(self, order: Order) -> bool:
        """Let an order of a dead process wait for the next one; return False when it may not."""
        self.acquit(order)
        again = order.try_again()
        if again:
            self.add(order)
        return again

    def after_failed_start(self, *, died: bool) -> list[Order]:
        """Take out the orders that a failed start ends: all, or after a death those that saw one before."""
        orders = self.take_all()
        return [order for order in orders if not (died and self.after_death(order))]

    def take_all(self) -> list[Order]:
        """Take out everything that waits."""
        orders = [*self._suspects, *self._fresh]
        self._suspects.clear()
        self._fresh.clear()
        return orders

    def next(self) -> Order | None:
        """Take out the next order that may be sent now."""
        if self._fresh:
            return self._fresh.popleft()
        if self._suspects and self._on_trial is None:
            self._on_trial = self._suspects.popleft()
            return self._on_trial
        return None

    def acquit(self, order: Order) -> None:
        """Note that an order got an answer or its end: the next suspect may go."""
        if order is self._on_trial:
            self._on_trial = None
