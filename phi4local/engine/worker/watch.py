"""When is silence a hang? Arithmetic only: the clock and the process are elsewhere."""

from __future__ import annotations

from typing import Any

HANG_STEPS = 20
"""No sign of life for this many times the slowest step, and at least `hang_seconds`, is a hang."""
FIRST_STEP_PATIENCE = 4
"""Until its first step a process reads gigabytes from the disk, and tells of it less often than of work."""


class Watch:
    """Adds up how long a process is silent while somebody waits for it.

    Somebody has to call `tick` regularly, and no time between two calls counts as more than `longest_tick`: a
    program that was stopped with Ctrl-Z, a closed laptop or a halted virtual machine finds a long gap in its
    own clock, and not a silent child.

    Args:
        hang_seconds: the shortest silence that is a hang.
        longest_tick: seconds between two calls that are still believed.
        now: seconds on a clock that only goes forward; so in all methods.

    Example: with `hang_seconds=30` and a slowest step of 2 seconds, 40 seconds of silence are a hang; before
    the first step, 120 seconds are.
    """

    def __init__(self, *, hang_seconds: float, longest_tick: float, now: float) -> None:
        self._hang_seconds = hang_seconds
        self._longest_tick = longest_tick
        self._mark = now
        self._slowest_step: float | None = None
        self.silent_seconds = 0.0

    @property
    def stepped(self) -> bool:
        """Whether a step was finished yet."""
        return self._slowest_step is not None

    @property
    def limit_seconds(self) -> float:
        """The silence that is a hang by now."""
        if self._slowest_step is None:
            return FIRST_STEP_PATIENCE * self._hang_seconds
        return max(self._hang_seconds, HANG_STEPS * self._slowest_step)

    def heard(self, now: float) -> None:
        """Note a sign of life, or the first question to somebody who had nothing to do."""
        self._mark, self.silent_seconds = now, 0.0

    def finished_step(self, now: float) -> None:
        """Note a sign of life that also tells how long a step takes."""
        self.tick(now)
        # The first step also brings the weights into memory; the later ones are the measure.
        first = self._slowest_step is None
        self._slowest_step = 0.0 if first else max(self._slowest_step or 0.0, self.silent_seconds)
        self.heard(now)

    def tick(self, now: float) -> None:
        """Let the time since the last call pass."""
        self.silent_seconds += min(now - self._mark, self._longest_tick)
        self._mark = now


class Vigil:
    """Watches a process in two places: its work, and the thread that takes its messages.

    The first one tells of itself by steps and text. The second one is sent a ping and has to answer: without
    it, a process whose text flows on would never hear of a new request or a cancellation.

    Args:
        hang_seconds: the shortest silence that is a hang.
        longest_tick: seconds between two calls of `tick` that are still believed.
        now: seconds on a clock that only goes forward; so in all methods.
    """

    def __init__(self, *, hang_seconds: float, longest_tick: float, now: float) -> None:
        self._work = Watch(hang_seconds=hang_seconds, longest_tick=longest_tick, now=now)
        self._ear = Watch(hang_seconds=hang_seconds, longest_tick=longest_tick, now=now)
        self._pinged = False
        self._page_reads = 0

    def asked(self, now: float) -> None:
        """Note that somebody begins to wait: the silence before does not count."""
        self._work.heard(now)

    def heard(self, message: dict[str, Any], now: float) -> None:
        """Note a message of the process."""
        if message["type"] in ("step", "text"):
            self._work.finished_step(now)
        elif message["type"] != "pong":
            self._work.heard(now)
        else:
            self._pinged = False
            # A first step that reads the weights from a slow disk makes no sound for minutes.
            if not self._work.stepped and message["page_reads"] > self._page_reads:
                self._work.heard(now)
            self._page_reads = message["page_reads"]

    def wants_ping(self, now: float) -> bool:
        """Return whether a ping has to be sent now."""
        if self._pinged:
            return False
        self._pinged = True
        self._ear.heard(now)
        return True

    def tick(self, now: float) -> float:
        """Let the time pass; return the seconds of a silence that is a hang, else 0."""
        self._work.tick(now)
        self._ear.tick(now)
        silent = max(self._work.silent_seconds, self._ear.silent_seconds if self._pinged else 0.0)
        return silent if silent > self._work.limit_seconds else 0.0
