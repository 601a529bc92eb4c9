"""Rows of a checkpoint, as they were read, to blocks: which kernel, and compiling it in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import (
    blocks_of_32,
    cache,
    iq4,
    q2_k,
    q3_k,
    q4_k_q5_k,
    q6_k,
    q8_0,
    tiles,
)
from phi4local.native.ggml import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from phi4local.convert.kernels.choice import Work

_KINDS = {"BF16": tiles.BF16, "F16": tiles.F16, "F32": tiles.F32}
_NO_COLUMNS = np.empty(0, np.float32)


def quantize(
    work: Work, raw: NDArray[np.uint8], columns: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Return the blocks of the numbers in `raw`, the same bytes that ggml makes from them.

    Args:
        work: source type, target type, and whether there are column weights.
        raw: bytes of whole rows; all finite.
        columns: the column weights, (elements of a row,), finite and none below zero; or `None`.

    Example: 512 bytes of BF16 → one block of 144 bytes of Q4_K.

    Raises:
        ValueError: no whole number of blocks or rows, or column weights that do not go with `work`.
    """
    if work.weighted != (columns is not None):
        raise ValueError(f"{work} does not go with {'no ' * (columns is None)}column weights")
    block = TENSOR_TYPES[work.target]
    elements = raw.size // (4 if work.source == "F32" else 2)
    row = block.block_elements if columns is None else columns.size
    if elements % row or row % block.block_elements:
        raise ValueError(f"{elements} numbers are no whole number of {work.target} blocks in rows of {row}")
    stored = np.empty(elements // block.block_elements * block.block_bytes, np.uint8)
    given = _NO_COLUMNS if columns is None else columns
    _quantize(work, raw.view("<u2"), given, stored)
    return stored


def _quantize(
    work: Work, source: NDArray[np.uint16], columns: NDArray[np.float32], target: NDArray[np.uint8]
) -> None:
    name, kind = work.target, _KINDS[work.source]
    if name in q4_k_q5_k.STEPS:
        steps = (q4_k_q5_k.WEIGHTED_STEPS if columns.size else q4_k_q5_k.STEPS)[name]
        q4_k_q5_k.quantize(source, kind, int(name[1]), steps, columns, target)
    elif name in blocks_of_32.STEPS and columns.size:
        blocks_of_32.quantize(source, kind, int(name[1]), blocks_of_32.STEPS[name], columns, target)
    elif name in ("IQ4_NL", "IQ4_XS"):
        iq4.quantize(source, kind, name == "IQ4_XS", columns, target)
    elif name == "Q2_K":
        q2_k.quantize(source, kind, q2_k.WEIGHTED_STEPS if columns.size else q2_k.STEPS, columns, target)
    elif name == "Q8_0":
        q8_0.quantize(source, kind, target)
    elif name in ("Q3_K", "Q6_K"):
        family = q3_k if name == "Q3_K" else q6_k
        family.quantize(source, kind, family.STEPS, columns, target)
    else:
        raise ValueError(f"no kernel for {name} without column weights")


def prepare(kernels: Iterable[Work]) -> float:
    """Compile, or load from the cache, every kernel in this thread; return the seconds that it took."""
    started = time.perf_counter()
    for work in kernels:
        columns = np.zeros(256, np.float32) if work.weighted else None
        quantize(work, np.zeros(256 * (4 if work.source == "F32" else 2), np.uint8), columns)
        cache.remember_compiled(work.family)
    return time.perf_counter() - started
