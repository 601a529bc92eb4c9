"""A running answer: iterate over its events, wait for it, or cancel it."""

from __future__ import annotations

import queue
import time
from typing import TYPE_CHECKING, Self

from phi4local.engine.events import Completion, Event, Finished, Text, TokenLogprob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

CHECK_SECONDS = 1.0


class Generation:
    """The events of one request, in order: `Text` … and one `Finished`.

    Iterable, async-iterable and a context manager; leaving the `with` block cancels what still runs.

    Example::

        with engine.submit(request) as generation:
            for event in generation:
                ...

    Raises:
        EngineError: while iterating, when the engine failed.
    """

    def __init__(self, *, cancel: Callable[[], None], check: Callable[[float], None] | None = None) -> None:
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._cancel = cancel
        self._check = check
        self._done = False

    def put(self, event: Event | BaseException) -> None:
        """Hand over the next event; the engine's side."""
        self._events.put(event)

    def cancel(self) -> None:
        """Ask the engine to stop at its next step; `Finished("cancelled")` follows."""
        if not self._done:
            self._cancel()

    def result(self) -> Completion:
        """Wait for the end and return the whole answer.

        Example: `engine.submit(request).result().text`.
        """
        texts: list[str] = []
        token_ids: list[int] = []
        logprobs: list[TokenLogprob] = []
        for event in self:
            if isinstance(event, Finished):
                return Completion(
                    text="".join(texts),
                    token_ids=tuple(token_ids),
                    finished=event,
                    logprobs=tuple(logprobs) or None,
                )
            texts.append(event.delta)
            token_ids += event.token_ids
            logprobs += event.logprobs or ()
        raise RuntimeError("the generation was consumed before")

    def __iter__(self) -> Iterator[Event]:
        while not self._done:
            yield self._next()

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio  # 0.02 s that the command line does not need

        while not self._done:
            yield await asyncio.to_thread(self._next)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def _next(self) -> Event:
        while True:
            started = time.monotonic()
            try:
                event = self._events.get(timeout=CHECK_SECONDS)
                break
            except queue.Empty:
                if self._check is not None:
                    self._check(time.monotonic() - started)
        if isinstance(event, Text):
            return event
        self._done = True
        self._events.put(event)  # whoever else reads this generation gets its end too
        if isinstance(event, BaseException):
            raise event
        return event
