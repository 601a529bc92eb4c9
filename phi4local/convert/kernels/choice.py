"""Whether compiling a kernel costs less time than it saves: arithmetic, before Numba is loaded."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.convert.kernels import cache
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

KERNELS = ("auto", "numba", "ggml")

SPEEDS = {"Q4_K": (15.0, 115.0), "Q5_K": (18.0, 135.0), "Q6_K": (35.0, 210.0), "Q8_0": (200.0, 600.0)}
"""Million weights a second and thread: ggml, and the kernel in AVX2 code (benchmarks/results)."""

LOADING_SECONDS = 0.6
COMPILING_SECONDS = 6.0
"""Measured for one kernel and one source type; with a cached kernel only LOADING_SECONDS are spent."""


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
    def kernel(self) -> str:
        """Return the name that its compiled code is kept under."""
        return f"{self.target}-{self.source}"


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
    known = frozenset(work for work in weights if work.target in SPEEDS and not work.weighted)
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
    compiled = {work for work in known if installed and cache.is_compiled(work.kernel)}
    costs = {work: 0.0 if work in compiled else COMPILING_SECONDS for work in known}
    gains = {work: saved_seconds(work, weights[work], threads) - costs[work] for work in known}
    worth = frozenset(work for work, gain in gains.items() if gain > 0)
    gain = sum(gains[work] for work in worth) - LOADING_SECONDS
    if gain <= 0:
        return Choice(frozenset())
    return Choice(worth) if installed else Choice(frozenset(), missing_seconds=gain)


def saved_seconds(work: Work, weights: int, threads: int) -> float:
    """Return the wall-clock time that the kernel saves. Example: 150 million Q4_K in one thread → 8.7."""
    ggml, numba = SPEEDS[work.target]
    return weights / 1e6 * (1 / ggml - 1 / numba) / threads


def numba_is_installed() -> bool:
    """Return whether Numba can be imported; it is not."""
    return importlib.util.find_spec("numba") is not None
