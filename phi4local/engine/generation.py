"""A running answer: iterate over its events, wait for it, or cancel it."""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING, Self, TypeVar

from phi4local.engine.events import Completion, Event, Finished, Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

WAKE_SECONDS = 1.0
MAX_UNREAD_EVENTS = 50_000
"""Seven minutes of the fastest stream, or 25 MB."""

_Item = TypeVar("_Item")


def wait_for(items: queue.SimpleQueue[_Item]) -> _Item:
    """Return the next item. Ctrl-C is heard on Windows too, where a wait without an end is deaf."""
    while True:
        with contextlib.suppress(queue.Empty):
            return items.get(timeout=WAKE_SECONDS)


class Generation:
    """An answer that is being written: `Text` events, and one `Finished` at the end.

    The work goes on by itself. Read it as you like: wait for `text` or `result()`, iterate over `texts()` or
    over the events, the latter also with `async for`. Leaving the `with` block cancels what still runs, and
    so does leaving an `async for` before its end.

    Events wait here until they are read, so a slow reader holds up nobody else. An answer that nobody reads
    is cancelled after `MAX_UNREAD_EVENTS`.

    Example::

        with model.chat("Why is the sky blue?") as generation:
            for event in generation:
                ...

    Raises:
        EngineError: while reading, when the engine failed.
    """

    def __init__(self, *, cancel: Callable[[], None]) -> None:
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._cancel = cancel
        self._wake: Callable[[], None] | None = None
        self._end: Finished | BaseException | None = None
        self._texts: list[Text] = []

    def put(self, event: Event | BaseException) -> None:
        """Hand over the next event; the engine's side."""
        self._events.put(event)
        if (wake := self._wake) is not None:
            wake()
        if self._events.qsize() > MAX_UNREAD_EVENTS:
            self.cancel()

    def cancel(self) -> None:
        """Ask the engine to stop at its next step; `Finished("cancelled")` follows."""
        if self._end is None:
            self._cancel()

    @property
    def text(self) -> str:
        """Wait for the end and return the whole text. Example: `print(model.chat("Hello").text)`."""
        return self.result().text

    def result(self) -> Completion:
        """Wait for the end and return the whole answer, whatever was read of it before.

        Example: `model.chat("Hello").result().finished.usage.generated_tokens`.
        """
        for _ in self:
            pass
        return self._completion()

    async def aresult(self) -> Completion:
        """Wait for the end like `result`, without blocking the event loop; cancelled if the task is."""
        async for _ in self:
            pass
        return self._completion()

    def texts(self) -> Iterator[str]:
        """Yield the text as it comes; leaving the loop cancels the rest."""
        with self:
            for event in self:
                if isinstance(event, Text) and event.delta:
                    yield event.delta

    def __iter__(self) -> Iterator[Event]:
        while self._end is None:
            yield self._next()

    async def __aiter__(self) -> AsyncIterator[Event]:
        import asyncio  # 0.02 s that the command line does not need

        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(arrived.set)

        self._wake = wake
        try:
            while self._end is None:
                arrived.clear()
                try:
                    event = self._events.get_nowait()
                except queue.Empty:
                    await arrived.wait()
                    continue
                yield self._take(event)
        finally:
            self._wake = None
            self.cancel()  # does nothing after the end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def _next(self) -> Event:
        return self._take(wait_for(self._events))

    def _take(self, event: Event | BaseException) -> Event:
        if isinstance(event, Text):
            self._texts.append(event)
        if not isinstance(event, Finished | BaseException):
            return event
        self._end = event
        self._events.put(event)  # whoever else reads this generation gets its end too
        if isinstance(event, BaseException):
            raise event
        return event

    def _completion(self) -> Completion:
        if not isinstance(self._end, Finished):
            raise self._end or RuntimeError("the generation has no end")
        return Completion(
            text="".join(event.delta for event in self._texts),
            token_ids=tuple(token for event in self._texts for token in event.token_ids),
            finished=self._end,
            logprobs=tuple(item for event in self._texts for item in event.logprobs or ()) or None,
        )
