"""What a step costs by the number of its tokens, as measured on this machine with this model."""

from __future__ import annotations

import collections
import statistics

_REMEMBERED = 5
"""Steps of each size whose median counts: one that something disturbed does not."""
_FORGOTTEN_AFTER = 256
"""Steps of other sizes after which a larger one's time is tried again: machines change their speed."""


class BatchCosts:
    """Seconds of a step with so many tokens.

    Args:
        slope: what one more token costs before it was measured, as a share of the smallest step.

    Example: steps of 1 token took 10 ms, of 9 tokens 26 ms → `seconds(5)` is 0.018.
    """

    def __init__(self, slope: float) -> None:
        self._slope = slope
        self._times: dict[int, collections.deque[float]] = {}
        self._last: dict[int, int] = {}
        self._steps = 0

    def observe(self, tokens: int, seconds: float) -> None:
        """Take the size and the time of a step in which everyone generated."""
        self._steps += 1
        if self._steps - self._last.get(tokens, self._steps) > _FORGOTTEN_AFTER:
            self._times[tokens].clear()
        self._times.setdefault(tokens, collections.deque(maxlen=_REMEMBERED)).append(seconds)
        self._last[tokens] = self._steps

    def seconds(self, tokens: int) -> float | None:
        """Return what a step will take; between measured sizes on a straight line. `None` at the start."""
        sizes = self._known_sizes()
        if not sizes:
            return None
        below = max((size for size in sizes if size <= tokens), default=None)
        above = min((size for size in sizes if size >= tokens), default=None)
        if below is None or above is None:
            nearest = below or above or 0
            per_token = self._median(sizes[0]) * self._slope / sizes[0]
            if below is not None and len(sizes) > 1:
                per_token = (self._median(below) - self._median(sizes[0])) / (below - sizes[0])
            return max(self._median(nearest) + (tokens - nearest) * max(per_token, 0.0), 1e-9)
        if below == above:
            return self._median(below)
        share = (tokens - below) / (above - below)
        return self._median(below) * (1 - share) + self._median(above) * share

    def _known_sizes(self) -> list[int]:
        sizes = sorted(self._times)
        fresh = (size for size in sizes[1:] if self._steps - self._last[size] <= _FORGOTTEN_AFTER)
        return [*sizes[:1], *fresh]

    def _median(self, size: int) -> float:
        return statistics.median(self._times[size])
