"""Rows of a checkpoint, as they were read, to blocks: which kernel, and compiling it in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import cache, q4_k_q5_k, q6_k, q8_0, tiles
from phi4local.native.ggml import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from phi4local.convert.kernels.choice import Work

_KINDS = {"BF16": (tiles.BF16, "<u2"), "F16": (tiles.F16, "<u2"), "F32": (tiles.F32, "<f4")}


def quantize(work: Work, raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the blocks of the numbers in `raw`, the same bytes that ggml makes from them.

    Args:
        work: source type and target type.
        raw: bytes of whole rows, so of whole blocks; all finite.

    Example: 512 bytes of BF16 → one block of 144 bytes of Q4_K.

    Raises:
        ValueError: no whole number of blocks.
    """
    kind, dtype = _KINDS[work.source]
    source = raw.view(dtype)
    block = TENSOR_TYPES[work.target]
    blocks, rest = divmod(source.size, block.block_elements)
    if rest:
        raise ValueError(f"{source.size} numbers are no whole number of {work.target} blocks")
    stored = np.empty(blocks * block.block_bytes, np.uint8)
    if work.target == "Q8_0":
        q8_0.quantize(source, kind, stored)
    elif work.target == "Q6_K":
        q6_k.quantize(source, kind, q6_k.STEPS, stored)
    else:
        bits = 4 if work.target == "Q4_K" else 5
        q4_k_q5_k.quantize(source, kind, bits, q4_k_q5_k.STEPS[work.target], stored)
    return stored


def prepare(kernels: Iterable[Work]) -> float:
    """Compile, or load from the cache, every kernel in this thread; return the seconds that it took."""
    started = time.perf_counter()
    for work in kernels:
        quantize(work, np.zeros(256 * (4 if work.source == "F32" else 2), np.uint8))
        cache.remember_compiled(work.kernel)
    return time.perf_counter() - started
