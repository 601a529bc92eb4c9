"""Check the weights of a GGUF file: scales that are finite, and rows that are those of the checkpoint.

How far stored weights may be from the checkpoint depends on their type. A block that is further away than its
type usually is gets a second look: its rows are quantized again, and it is wrong if that comes much closer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert import refusals
from phi4local.convert.quantizer import largest_magnitude, widen
from phi4local.convert.rows import chunks
from phi4local.native.ggml import NEEDS_COLUMN_WEIGHTS, TENSOR_TYPES, dequantize_rows, quantize_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phi4local.convert.model_source import NamedTensor
    from phi4local.convert.rows import SourceReader

USUAL_ERROR = {
    "F32": 0.0,
    "F16": 0.0003,
    "BF16": 0.0017,
    "Q8_0": 0.0054,
    "Q6_K": 0.018,
    "Q5_K": 0.036,
    "Q5_0": 0.043,
    "Q5_1": 0.038,
    "Q4_0": 0.086,
    "Q4_1": 0.078,
    "Q4_K": 0.071,
    "IQ4_NL": 0.076,
    "IQ4_XS": 0.077,
    "MXFP4": 0.115,
    "Q3_K": 0.151,
    "IQ3_S": 0.166,
    "IQ3_XXS": 0.213,
    "Q2_K": 0.297,
    "IQ2_S": 0.249,
    "IQ2_XS": 0.300,
    "IQ2_XXS": 0.344,
    "IQ1_M": 0.452,
    "IQ1_S": 0.486,
    "TQ1_0": 0.808,
    "TQ2_0": 0.808,
}
"""Root mean square error of normally distributed weights, divided by their root mean square, by type."""

_SUSPICIOUS = 2.5
"""How many times the usual error a block has to have for a second look."""
_WORSE = 3.0
"""How many times the error of quantizing again makes a block wrong; an importance matrix costs up to two."""
_UNRELATED = 0.98
"""Relative error from which stored numbers have nothing to do with the right ones; zeros have 1."""


@dataclass(slots=True)
class TensorReport:
    """What was found in one tensor.

    Attributes:
        name: GGUF name.
        type: what it is stored as.
        relative_error: root mean square error divided by the root mean square of the checkpoint's weights;
            `None` without a checkpoint.
        problems: one line each, with the number of the first block that shows it.
    """

    name: str
    type: str
    relative_error: float | None = None
    problems: list[str] = field(default_factory=list)


def check_tensor(
    tensor: NamedTensor, reader: SourceReader, expected: NamedTensor | None, original: SourceReader | None
) -> TensorReport:
    """Check all rows of a tensor.

    Args:
        tensor: of the GGUF file.
        reader: of the GGUF file.
        expected: the same tensor of the checkpoint, with the same shape, or `None`.
        original: of the checkpoint.

    Raises:
        CheckpointError: a file cannot be read.
    """
    report = TensorReport(tensor.name, tensor.source.dtype)
    sums = _Sums()
    for first, count in chunks(tensor.source):
        stored = reader.read(tensor.source, first=first, count=count)
        if not _finite(report, tensor, stored, first) or expected is None or original is None:
            continue
        right = widen(original.read(expected.source, first=first, count=count), expected.source.dtype)
        _compare(report, tensor, (stored, right.reshape(count, -1)), first, sums)
    if expected is not None:
        report.relative_error = sums.relative_error()
        _judge(report, sums)
    return report


@dataclass(slots=True)
class _Sums:
    error: float = 0.0
    weights: float = 0.0
    bad_blocks: int = 0
    first_bad: str = ""

    def relative_error(self) -> float:
        if self.weights:
            return math.sqrt(self.error / self.weights)
        return 0.0 if not self.error else math.inf


def _finite(report: TensorReport, tensor: NamedTensor, stored: NDArray[np.uint8], first: int) -> bool:
    dtype = tensor.source.dtype
    if TENSOR_TYPES[dtype].block_elements == 1:
        fine = bool(np.isfinite(largest_magnitude(stored, dtype)))
        place = f"row {first:,} or one of the next"
    else:
        blocks = refusals.storable(stored, dtype)
        fine = bool(blocks.all())
        block = int(np.argmin(blocks)) + first * (tensor.shape[-1] // TENSOR_TYPES[dtype].block_elements)
        place = f"block {block:,}"
    if not fine and not report.problems:
        report.problems.append(f"{place} holds NaN or infinity")
    return fine


def _compare(
    report: TensorReport,
    tensor: NamedTensor,
    pair: tuple[NDArray[np.uint8], NDArray[np.float32]],
    first: int,
    sums: _Sums,
) -> None:
    """Add the errors of some rows up, and look twice at blocks that are far away."""
    stored, right = pair
    dtype, width = report.type, tensor.shape[-1]
    found = _numbers(dtype, stored, width)
    per_block = TENSOR_TYPES[dtype].block_elements
    per_block = per_block if per_block > 1 else math.gcd(width, 256)
    error, size = _squares(found - right, per_block), _squares(right, per_block)
    sums.error += float(error.sum())
    sums.weights += float(size.sum())
    limit = _SUSPICIOUS * USUAL_ERROR[dtype]
    far = error > limit * limit * size
    if not far.any():
        return
    rows = np.flatnonzero(far.any(axis=1))
    if dtype in NEEDS_COLUMN_WEIGHTS:  # nobody knows which ones it had
        bad = far & (error > _UNRELATED**2 * size)
    else:
        again = _numbers(dtype, quantize_rows(dtype, np.ascontiguousarray(right[rows])).reshape(-1), width)
        best = np.zeros_like(error)
        best[rows] = _squares(again - right[rows], per_block)
        bad = far & (error > _WORSE**2 * best + 1e-14)
    if bad.any():
        row, block = (int(axis[0]) for axis in np.nonzero(bad))
        sums.bad_blocks += int(bad.sum())
        if not sums.first_bad:
            ratio = math.sqrt(error[row, block] / max(float(size[row, block]), 1e-30))
            sums.first_bad = f"row {first + row:,}, elements from {block * per_block:,} on, error {ratio:.2g}"


def _judge(report: TensorReport, sums: _Sums) -> None:
    """Say in one line what is wrong: the whole tensor, or some blocks of it."""
    error = report.relative_error or 0.0
    if error > _UNRELATED:
        report.problems.append(
            f"is another tensor, or of another model: relative error {error:.3g}, "
            f"usual for {report.type} is {USUAL_ERROR[report.type]:.2g}"
        )
    elif sums.bad_blocks:
        blocks = "1 block is" if sums.bad_blocks == 1 else f"{sums.bad_blocks:,} blocks are"
        report.problems.append(f"{blocks} not the checkpoint's: first {sums.first_bad}")


def _numbers(dtype: str, stored: NDArray[np.uint8], width: int) -> NDArray[np.float32]:
    if TENSOR_TYPES[dtype].block_elements == 1:
        return widen(stored, dtype).reshape(-1, width)
    return dequantize_rows(dtype, np.ascontiguousarray(stored), width)


def _squares(values: NDArray[np.float32], per_block: int) -> NDArray[np.float64]:
    """Return the sum of squares of each block, (rows, blocks of a row)."""
    blocks = values.reshape(len(values), -1, per_block)
    squares: NDArray[np.float64] = np.einsum("rbe,rbe->rb", blocks, blocks, dtype=np.float64)
    return squares
