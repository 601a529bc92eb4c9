"""Put two measurements beside each other: which rows belong together, and how much faster one of them is."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.bench.row import LLAMA_BENCH_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phi4local.bench.row import Row

_TEST = ("n_prompt", "n_gen", "n_depth", "parallel")
_RESULTS = ("test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts")
_FACTS = ("build_commit", "build_number", "cpu_info", "gpu_info", "backends")
SETTINGS = ("path", *(name for name in LLAMA_BENCH_COLUMNS if name not in _TEST + _RESULTS + _FACTS))
"""Columns that say what was measured and how."""

_FREEDOM = (*range(1, 31), 40, 60, 120)
_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
    *(2.021, 2.000, 1.980),
)
"""Student's t that 97.5 % are below, by degrees of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as fast.

    Attributes:
        value: rate of the new one divided by the old one's: 1.1 is 10 % faster.
        low, high: 95 % interval; `None` where one side has a single sample.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def percent(self) -> float:
        """Change in per cent. Example: 1.1 → 10."""
        return 100 * (self.value - 1)

    @property
    def verdict(self) -> str:
        """`faster`, `slower`, `in the spread`, or `one sample` where nobody can know."""
        if self.low is None or self.high is None:
            return "one sample"
        if self.low > 1:
            return "faster"
        return "slower" if self.high < 1 else "in the spread"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two rows of one test."""

    old: Row
    new: Row

    @property
    def ratio(self) -> Ratio:
        """How many times as fast the new one is."""
        return ratio(self.old.samples_ns, self.new.samples_ns)


def ratio(old_ns: Sequence[float], new_ns: Sequence[float]) -> Ratio:
    """Return how many times as fast the new samples are as the old ones.

    Geometric means, so that swapping the sides gives the reciprocal; the interval is Welch's on logarithms,
    which lets both sides spread differently. It covers what varied during the two measurements and not what
    differs from day to day, such as temperature.

    Args:
        old_ns: times of some work, all above zero.
        new_ns: times of the same work.

    Example: `ratio((200, 202, 198), (100, 101, 99))` → 2.0, from 1.96 to 2.05.

    Source: B. L. Welch, Biometrika 34 (1947), 28-35.
    """
    old, new = [math.log(value) for value in old_ns], [math.log(value) for value in new_ns]
    middle = statistics.fmean(old) - statistics.fmean(new)
    if min(len(old), len(new)) < 2:
        return Ratio(value=math.exp(middle))
    one, other = statistics.variance(old) / len(old), statistics.variance(new) / len(new)
    error = math.sqrt(one + other)
    if not error:
        return Ratio(value=math.exp(middle), low=math.exp(middle), high=math.exp(middle))
    freedom = (one + other) ** 2 / (one**2 / (len(old) - 1) + other**2 / (len(new) - 1))
    reach = t_quantile(freedom) * error
    return Ratio(value=math.exp(middle), low=math.exp(middle - reach), high=math.exp(middle + reach))


def t_quantile(freedom: float) -> float:
    """Return Student's t for a 95 % interval; between two degrees the wider one. Example: 8.7 → 2.306."""
    return _T_975[max(0, bisect.bisect_right(_FREEDOM, freedom) - 1)]


def pairs(old: Sequence[Row], new: Sequence[Row]) -> list[Pair]:
    """Return the rows that belong together, in the order of the new ones.

    Tests must be the same, and so must every setting of which one side tried several values. What is constant
    on both sides may differ: it is what the comparison is about, and `differences` names it.

    Example: Q4_K_M with 2 and 4 threads against Q8_0 with 2 and 4 threads gives a pair for each number.
    """
    columns = [name for name in SETTINGS if _varies(old, name) or _varies(new, name)]

    def identity(row: Row) -> tuple[object, ...]:
        return tuple(getattr(row, name) for name in (*_TEST, *columns))

    waiting: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in old:
        waiting[identity(row)].append(row)
    found = []
    for row in new:
        same = waiting[identity(row)]
        if same and same[0].samples_ns and row.samples_ns:
            found.append(Pair(old=same.pop(0), new=row))
    return found


def differences(found: Iterable[Pair]) -> dict[str, tuple[object, object]]:
    """Return the columns in which pairs differ, with the first pair's values.

    Example: `{"model_filename": ("phi-4-Q4_K_M.gguf", "phi-4-Q8_0.gguf"), "n_threads": (2, 4)}`.
    """
    differing: dict[str, tuple[object, object]] = {}
    for pair in found:
        for name in (*SETTINGS, *_FACTS, "version"):
            old, new = getattr(pair.old, name), getattr(pair.new, name)
            if old != new:
                differing.setdefault(name, (old, new))
    return differing


def _varies(rows: Sequence[Row], name: str) -> bool:
    return len({getattr(row, name) for row in rows}) > 1
