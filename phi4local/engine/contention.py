"""Whether other processes want the cores that the engine computes on, and what is done about it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.native.spinning import Spinning

_INTERVAL_SECONDS = 0.2
_IDLE_SECONDS = 3.0
"""No step takes that long: the engine had nothing to do, and its waiting time says nothing."""
_CROWDED = 0.10
"""Share of the time that threads waited for a core. Measured on two cores: idle 0.003 to 0.023, beside one
endless loop 0.34 to 0.41, beside two of them 0.35 to 0.51, whether the threads spin or not."""
_CALM = 0.05
_CALM_INTERVALS = 5
"""Spinning in vain costs more than sleeping in vain: it starts again only after this many calm intervals."""
_TASKS = Path("/proc/self/task")


class Contention:
    """Stops the spinning of the compute threads while other processes compete with them.

    Args:
        spinning: of llama.cpp's threads.
        threads: how many compute.
        waited: the time that the threads of this process were ready to run and had no core, in seconds,
            ever growing; `None` where the system does not tell.

    Example: two threads waited 0.15 s in 0.2 s, a share of 0.38 → they sleep instead of spinning, until five
    intervals later none of them had to wait.
    """

    def __init__(
        self, spinning: Spinning, threads: int, *, waited: Callable[[], float | None] | None = None
    ) -> None:
        self._spinning = spinning
        self._threads = threads
        self._waited = waited or seconds_without_core
        self._calm_intervals = 0
        self._seen: tuple[float, float] | None = None

    def observe(self) -> None:
        """Look at the last interval, if it is over; called between steps."""
        now = time.perf_counter()
        if self._seen is not None and now - self._seen[0] < _INTERVAL_SECONDS:
            return
        if self._threads == 1 or not self._spinning.adjustable or (waited := self._waited()) is None:
            return
        if self._seen is not None and now - self._seen[0] < _IDLE_SECONDS:
            self._judge((waited - self._seen[1]) / ((now - self._seen[0]) * self._threads))
        self._seen = now, waited

    def close(self) -> None:
        """End what was started for it."""
        self._spinning.resume()

    def _judge(self, share: float) -> None:
        self._calm_intervals = self._calm_intervals + 1 if share < _CALM else 0
        if share > _CROWDED:
            self._spinning.stop()
        elif self._calm_intervals >= _CALM_INTERVALS:
            self._spinning.resume()


def seconds_without_core() -> float | None:
    """Return how long the threads of this process were ready to run and waited for a core, in seconds.

    Source: the second field of `/proc/PID/task/TID/schedstat`
    (<https://www.kernel.org/doc/html/latest/scheduler/sched-stats.html>), in nanoseconds.
    """
    total, found = 0, False
    with contextlib.suppress(OSError):
        for task in _TASKS.iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):  # a thread that has just ended
                total += int((task / "schedstat").read_text(encoding="ascii").split()[1])
                found = True
    return total / 1e9 if found else None
