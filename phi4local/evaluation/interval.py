"""How far a share of right answers can be from the true one."""

from __future__ import annotations

import math

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
    return max(0.0, low), min(1.0, high)
