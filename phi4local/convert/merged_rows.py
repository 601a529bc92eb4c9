"""Compute the rows of a merged tensor: W + scale · B @ A, with DoRA at the trained length."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.quantizer import widen
from phi4local.errors import AdapterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from phi4local.convert.adapters import LowRank
    from phi4local.convert.safetensors import SourceTensor
    from phi4local.convert.sources import MergedTensor, RowUpdate

_KEPT = 4
"""Modules whose matrices stay in memory: those of one fused matrix, and the one before it."""


class RowMerger:
    """Add what adapters say to rows that were read, from several threads.

    The matrices of the last few modules are kept in memory, for Phi-4 about 0.2 MB for each unit of rank.

    Args:
        read: returns the bytes of all rows of a tensor.
    """

    def __init__(self, read: Callable[[SourceTensor], NDArray[np.uint8]]) -> None:
        self._read = read
        self._kept: OrderedDict[LowRank, tuple[NDArray[np.float32], ...]] = OrderedDict()
        self._lock = threading.Lock()

    def merge(self, tensor: MergedTensor, rows: NDArray[np.float32], first: int) -> NDArray[np.float32]:
        """Return rows of `tensor`, changed.

        Args:
            tensor: what they belong to.
            rows: float32, (rows, elements of a row), as the base model has them.
            first: which row of the tensor the first one is.
        """
        merged = rows.copy()
        for update in tensor.updates:
            low = max(first, update.first_row)
            high = min(first + len(rows), update.first_row + update.rows)
            if low < high:
                part = slice(low - first, high - first)
                own = low - update.first_row + update.first_own_row
                merged[part] = self._update(update, merged[part], rows[part], own)
        return merged

    def _update(
        self, update: RowUpdate, current: NDArray[np.float32], base: NDArray[np.float32], own: int
    ) -> NDArray[np.float32]:
        """Return `current` with the update; DoRA measures the base model's rows, as PEFT does.

        Source: arXiv:2402.09353, equation 5: a row becomes m · (W + ΔW) / ‖W + ΔW‖.
        """
        a, b, magnitude = self._matrices(update.low_rank)
        chosen = slice(own, own + len(current))
        with np.errstate(all="ignore"):  # what is not finite is counted and refused by the caller
            delta = (b[chosen] @ a) * np.float32(update.low_rank.scale * update.strength)
            changed = current + delta
            if magnitude.size:
                length = np.linalg.norm(base + delta, axis=1)
                changed *= (magnitude[chosen] / length)[:, None]
        return changed

    def _matrices(self, low_rank: LowRank) -> tuple[NDArray[np.float32], ...]:
        """Return A, B and the magnitudes, such that rows of B belong to rows of the tensor."""
        with self._lock:
            if low_rank in self._kept:
                self._kept.move_to_end(low_rank)
                return self._kept[low_rank]
            a, b = (self._whole(low_rank.module, part) for part in (low_rank.a, low_rank.b))
            magnitude = np.empty(0, np.float32)
            if low_rank.magnitude is not None:
                magnitude = self._whole(low_rank.module, low_rank.magnitude).reshape(-1)
            found = (np.ascontiguousarray(b.T), np.ascontiguousarray(a.T)) if low_rank.embedding else (a, b)
            self._kept[low_rank] = (*found, magnitude)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[low_rank]

    def _whole(self, module: str, tensor: SourceTensor) -> NDArray[np.float32]:
        values = widen(self._read(tensor), tensor.dtype).reshape(tensor.shape)
        if not np.isfinite(values).all():
            raise AdapterError(tensor.shard.parent, f"module `{module}` holds NaN or infinity")
        return values
