"""Whether compiling a kernel costs less time than it saves: arithmetic, before Numba is loaded."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.convert.kernels import cache
from phi4local.convert.kernels.speeds import ggml_speed, kernel_speed
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

KERNELS = ("auto", "numba", "ggml")

FAMILIES = {
    "q4_k_q5_k": ("Q4_K", "Q5_K"),
    "iq4": ("IQ4_NL", "IQ4_XS"),
    "blocks_of_32": ("Q4_0", "Q4_1", "Q5_0", "Q5_1"),
}
"""Types that are one compiled function; the others are one each."""

LOADING_SECONDS = 0.6
COMPILING_SECONDS = 6.0
"""Measured for one family, for all source types, with and without column weights. From the cache it takes
LOADING_SECONDS."""


@dataclass(frozen=True, slots=True)
class Work:
    """A kind of work in a conversion, such as BF16 to Q4_K.

    Attributes:
        source: type in the checkpoint.
        target: type in the output.
        weighted: whether there are column weights, from an imatrix.
    """

    source: str
    target: str
    weighted: bool = False

    @property
    def family(self) -> str:
        """Return the name that its compiled code is kept under. Example: `q4_k_q5_k`."""
        shared = (family for family, targets in FAMILIES.items() if self.target in targets)
        return next(shared, self.target.lower())


@dataclass(frozen=True, slots=True)
class Choice:
    """What to quantize with Numba; ggml does the rest.

    Attributes:
        numba: this work.
        missing_seconds: what Numba would save if it were installed; 0 if it is, or if it would not pay.
    """

    numba: frozenset[Work]
    missing_seconds: float = 0.0


def choose(wanted: str, weights: Mapping[Work, int], threads: int) -> Choice:
    """Choose kernels for a conversion.

    Args:
        wanted: one of `KERNELS`.
        weights: number of weights of each kind of work.
        threads: how many quantize at a time.

    Example: Phi-4 as Q4_K_M in two threads takes ggml (11.9e9 / 15e6 + 2.8e9 / 35e6) / 2 = 436 s. The
    kernels take 58 s and are compiled in 13 s: `auto` chooses them. phi4-nano takes ggml 0.4 s: it stays.

    Raises:
        InvalidSettingError: another name, or "numba" where it is not installed.
    """
    if wanted not in KERNELS:
        raise InvalidSettingError("kernels", f"is {wanted!r}", hint=f"choose one of {', '.join(KERNELS)}")
    known = frozenset(work for work in weights if kernel_speed(work.target, weighted=work.weighted))
    if wanted == "ggml" or not known:
        return Choice(frozenset())
    installed = numba_is_installed()
    if wanted == "numba":
        if not installed:
            raise InvalidSettingError(
                "kernels",
                "is 'numba', which is not installed",
                hint="run `pip install numba`, or choose ggml",
            )
        return Choice(known)
    gains = _gains({work: weights[work] for work in known}, threads, installed)
    gain = sum(gains.values()) - LOADING_SECONDS
    if gain <= 0:
        return Choice(frozenset())
    if not installed:
        return Choice(frozenset(), missing_seconds=gain)
    return Choice(frozenset(work for work in known if work.family in gains))


def _gains(weights: Mapping[Work, int], threads: int, installed: bool) -> dict[str, float]:
    """Return the seconds that each family saves, compiling paid; those that save none are left out."""
    gains: defaultdict[str, float] = defaultdict(float)
    for work, count in weights.items():
        gains[work.family] += saved_seconds(work, count, threads)
    for family in gains:
        if not (installed and cache.is_compiled(family)):
            gains[family] -= COMPILING_SECONDS
    return {family: gain for family, gain in gains.items() if gain > 0}


def saved_seconds(work: Work, weights: int, threads: int) -> float:
    """Return the wall-clock time that the kernel saves. Example: 150 million Q4_K in one thread → 8.7."""
    ggml = ggml_speed(work.target, weighted=work.weighted)
    numba = kernel_speed(work.target, weighted=work.weighted)
    return weights / 1e6 * (1 / ggml - 1 / numba) / threads


def numba_is_installed() -> bool:
    """Return whether Numba can be imported; it is not."""
    return importlib.util.find_spec("numba") is not None
