"""The answer of one request on its way out: tokens become text, and several tokens one event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from phi4local.engine.events import Text
from phi4local.engine.text import TextStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Event
    from phi4local.engine.sampling.chooser import Choice

EMIT_SECONDS = 0.008
"""Tokens that follow faster than this share one event: nobody reads faster, and events cost time."""


class Answer:
    """What was generated so far, and what of it was not told yet.

    Args:
        emit: takes the events.
        stop: texts that end the answer.

    Attributes:
        tokens: how many were generated.
        first, last: when the first and the newest token came, in seconds of `time.perf_counter`.
    """

    def __init__(self, emit: Callable[[Event], None], stop: tuple[str, ...]) -> None:
        self.tokens = 0
        self.first = self.last = self._emitted = time.perf_counter()
        self._emit = emit
        self._text = TextStream(stop)
        self._texts: list[str] = []
        self._choices: list[Choice] = []

    @property
    def stopped(self) -> bool:
        """Whether a stop text came."""
        return self._text.stopped_by is not None

    def add(self, choice: Choice, piece: bytes) -> None:
        """Take the next token and the bytes it stands for; emit an event when the last one is old enough."""
        self.last = time.perf_counter()
        if not self.tokens:
            self.first = self.last
        self.tokens += 1
        self._choices.append(choice)
        self._texts.append(self._text.feed(piece))
        if self.tokens == 1 or self.last - self._emitted >= EMIT_SECONDS:
            self.flush()

    def finish(self) -> str | None:
        """Emit everything that was held back; return the stop text that came, if one did."""
        self._texts.append(self._text.finish())
        self.flush()
        return self._text.stopped_by

    def flush(self) -> None:
        """Emit what was not told yet."""
        if self._choices:
            ids = tuple(choice.token for choice in self._choices)
            logprobs = tuple(choice.logprob for choice in self._choices if choice.logprob is not None)
            self._emit(Text("".join(self._texts), ids, logprobs or None))
            self._texts.clear()
            self._choices.clear()
        self._emitted = self.last
