"""How far a share of right answers can be from the true one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % point: 95 % lie between it and its negative."""


def wilson(right: int, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share; it stays inside 0 and 1, also for few answers.

    Example: `wilson(8, 10)` is (0.490, 0.943), `wilson(0, 10)` is (0.0, 0.278).

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if count == 0:
        return 0.0, 1.0
    share, square = right / count, Z_95**2
    centre = share + square / (2 * count)
    spread = Z_95 * math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    low, high = ((centre + sign * spread) / (1 + square / count) for sign in (-1, 1))
    # Exactly 0 and 1 by arithmetic; rounding leaves up to 1e-17.
    return 0.0 if right == 0 else low, 1.0 if right == count else high


def resampled(values: Sequence[float], *, seed: int = 0, times: int = 2000) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of a mean: its percentiles over samples drawn from the values.

    For what is no plain share: answers with parts of a point, or several answers to one question, whose mean
    is one value here.

    Example: `resampled([0.0, 0.5, 1.0, 1.0])` is about (0.25, 1.0).

    Source: B. Efron, The Annals of Statistics 7 (1979), 1-26.
    """
    import numpy

    if not values:
        return 0.0, 1.0
    given = numpy.asarray(values, dtype=numpy.float64)
    chance = numpy.random.default_rng(seed)
    means = [float(given[chance.integers(0, given.size, given.size)].mean()) for _ in range(times)]
    low, high = numpy.percentile(means, (2.5, 97.5))
    return float(low), float(high)
