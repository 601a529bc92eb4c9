"""Rows → the target type, with Numba's kernels or ggml's function; both make the same bytes."""

from __future__ import annotations

import pickle
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import cache
from phi4local.native.ggml import TENSOR_TYPES, quantize_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phi4local.convert.kernels.choice import Choice, Work


@dataclass(frozen=True, slots=True)
class KernelUse:
    """What quantized the tensors of one type.

    Attributes:
        type: the target type.
        kernel: "numba" or "ggml".
        weights: how many.
        megaweights_per_second: million weights a second and thread, widening included.
    """

    type: str
    kernel: str
    weights: int
    megaweights_per_second: float


class RowQuantizer:
    """Quantize rows in several threads, and keep count.

    Example: `RowQuantizer(Choice(frozenset()))` leaves everything to ggml.

    Attributes:
        loading_seconds: what compiling or loading the chosen kernels took.
        loading_problem: why they could not be loaded, so that ggml does all; "" if they could.
    """

    def __init__(self, choice: Choice) -> None:
        self._numba = choice.numba
        self.loading_seconds = 0.0
        self._lock = threading.Lock()
        self._done: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])
        self.loading_problem = ""
        if choice.numba:
            self._load()

    def _load(self) -> None:
        try:
            from phi4local.convert.kernels import rows

            self.loading_seconds = rows.prepare(
                sorted(self._numba, key=lambda work: (work.family, work.target))
            )
            self._quantize = rows.quantize
        except (ImportError, OSError, EOFError, ValueError, pickle.PickleError) as error:
            # Numba refuses a numpy newer than itself; kept code may be damaged, or its disk full.
            self.loading_problem = f"{type(error).__name__}: {error}"
            self._numba = frozenset()
            cache.forget()

    def store(
        self,
        work: Work,
        raw: NDArray[np.uint8],
        row_elements: int,
        column_weights: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return the rows' bytes, one after the other.

        Args:
            work: source type, target type, and whether there are column weights.
            raw: the rows as the checkpoint has them, all finite.
            row_elements: elements of one row.
            column_weights: float32, (row_elements,): how much an error in each column matters, from an
                imatrix. Finite, none below zero.
        """
        started = time.perf_counter()
        kernel = "numba" if work in self._numba else "ggml"
        if kernel == "numba":
            stored = self._quantize(work, raw, column_weights)
        else:
            values = widen(raw, work.source).reshape(-1, row_elements)
            stored = quantize_rows(work.target, values, column_weights).reshape(-1)
        seconds = time.perf_counter() - started
        weights = raw.size // (4 if work.source == "F32" else 2)
        with self._lock:
            done = self._done[work.target, kernel]
            done[0] += weights
            done[1] += seconds
        return stored

    def uses(self) -> tuple[KernelUse, ...]:
        """Return what was quantized so far, most weights first."""
        with self._lock:
            found = [
                KernelUse(target, kernel, int(weights), round(weights / max(seconds, 1e-9) / 1e6, 1))
                for (target, kernel), (weights, seconds) in self._done.items()
            ]
        return tuple(sorted(found, key=lambda use: -use.weights))


def widen(raw: NDArray[np.uint8], dtype: str) -> NDArray[np.float32]:
    """Return the numbers as float32, exactly.

    Example: the bytes `80 3f` as BF16 → 1.0: BF16 is the upper half of a float32.
    """
    if dtype == "F32":
        return raw.view("<f4")
    if dtype == "F16":
        return raw.view("<f2").astype(np.float32)
    if dtype == "Q8_0":
        blocks = raw.reshape(-1, TENSOR_TYPES[dtype].block_bytes)
        scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
        return (blocks[:, 2:].view(np.int8).astype(np.float32) * scales).reshape(-1)
    wide = raw.view("<u2").astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)


def largest_magnitude(raw: NDArray[np.uint8], dtype: str) -> float:
    """Return the largest absolute value, NaN if there is one.

    Without their sign, the bits of such numbers grow with the numbers, and those of NaN are largest.

    Example: -3 and 2 as BF16 are 0xC040 and 0x4000; without sign the largest is 0x4040 → 3.0.
    """
    bits = raw.view("<u4" if dtype == "F32" else "<u2")
    mask = bits.dtype.type(np.iinfo(bits.dtype).max >> 1)
    largest = np.bitwise_and(bits, mask).max(keepdims=True)
    return float(widen(largest.view(np.uint8), dtype)[0])
