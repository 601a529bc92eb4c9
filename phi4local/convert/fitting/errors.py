"""How much of a tensor each type loses, measured on rows spread over it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.quantizer import widen
from phi4local.convert.rows import SourceReader, read_rows
from phi4local.convert.typing_rules import UNWEIGHTED_TYPES
from phi4local.native.ggml import dequantize_rows, quantize_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from phi4local.convert.plan import ConversionPlan, PlannedTensor

SAMPLE_WEIGHTS = 2**17
"""Weights of a tensor that are measured, as whole rows at equal distances: 25 rows of Phi-4's 5,120. The
error of 500 blocks differs from that of all by about one per cent."""

SLOW = frozenset({"IQ3_XXS", "IQ3_S"})
"""Types that ggml makes at less than half a million weights a second: an eighth of the sample has to do."""


def measure_errors(
    plan: ConversionPlan,
    candidates: Mapping[str, Sequence[str]],
    *,
    threads: int,
    columns: Mapping[str, NDArray[np.float32]],
    progress: Callable[[int, int, str], None],
) -> dict[str, dict[str, float]]:
    """Return for each tensor and each type its error, as a share of the tensor.

    That is Σ cⱼ (w - ŵ)² / Σ cⱼ w² over the sample, with the importance cⱼ of column j, or 1: the expected
    error of the product with an input, where inputs have these mean squares and nothing in common.

    Args:
        plan: of the checkpoint in F32.
        candidates: types by the tensor's name.
        threads: that measure.
        columns: importance by the tensor's name, float32, `(elements of a row,)`.
        progress: told (tensors done, tensors, name).

    Returns:
        tensor → type → share, 0 for a type without error. Gaussian weights in Q4_K: about 0.005.

    Raises:
        CheckpointError, NonFiniteWeightError: as a conversion.
    """
    tensors = [tensor for tensor in plan.tensors if tensor.name in candidates]
    found = {}
    with SourceReader() as reader, ThreadPoolExecutor(threads) as executor:
        jobs = [
            executor.submit(_errors, tensor, candidates[tensor.name], columns.get(tensor.name), reader)
            for tensor in tensors
        ]
        for number, (tensor, job) in enumerate(zip(tensors, jobs, strict=True), 1):
            found[tensor.name] = job.result()
            progress(number, len(tensors), tensor.name)
    return found


def _errors(
    tensor: PlannedTensor,
    types: Sequence[str],
    columns: NDArray[np.float32] | None,
    reader: SourceReader,
) -> dict[str, float]:
    rows = _sample(tensor, reader)
    importance = np.ones(rows.shape[1]) if columns is None else columns.astype(np.float64)
    if not importance.any():  # nobody's input reached it: all of its columns count the same
        importance = np.ones(rows.shape[1])
    found = {}
    for name in types:
        some = rows[::8] if name in SLOW else rows
        lost = some - _there_and_back(name, np.ascontiguousarray(some), columns)
        whole = float((np.square(some, dtype=np.float64) @ importance).sum()) or 1.0
        found[name] = float((np.square(lost, dtype=np.float64) @ importance).sum()) / whole
    return found


def _there_and_back(
    name: str, rows: NDArray[np.float32], columns: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return what rows are after they were stored as a type."""
    if name == "F16":
        return rows.astype(np.float16).astype(np.float32)
    stored = quantize_rows(name, rows, None if name in UNWEIGHTED_TYPES else columns)
    return dequantize_rows(name, stored, rows.shape[1]).reshape(rows.shape)


def _sample(tensor: PlannedTensor, reader: SourceReader) -> NDArray[np.float32]:
    """Return rows of a tensor at equal distances, float32, `(sampled rows, elements of a row)`."""
    rows, elements = tensor.shape
    count = max(1, min(rows, SAMPLE_WEIGHTS // elements))
    pieces = []
    for number in range(count):
        read = read_rows(tensor, reader, first=number * rows // count, count=1)
        dtype = "F32" if tensor.source.dtype == "Q8_0" else tensor.source.dtype
        raw = read.raw if read.plain is None else read.plain
        pieces.append(widen(raw, dtype).reshape(1, -1))
    return np.ascontiguousarray(np.concatenate(pieces), np.float32)
