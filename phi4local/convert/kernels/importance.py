"""How much an error in each weight matters to the searches: ggml's rules, with and without an imatrix.

Without one, larger weights matter more. With one, each input column has a number from an imatrix, and most
types multiply it by sqrt(spread + x * x), where the spread is the mean square around the weight, or twice it.

Worked example: column number 4, spread 9, x = -4: 4 * sqrt(9 + 16) = 20.

Source: ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import ZERO, f32, kernel
from phi4local.convert.kernels.tiles import (
    IMPORTANCE,
    LANES,
    MASK,
    NATURAL,
    SPREAD,
    TILE,
    VALUE,
    transpose,
    widen,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


@kernel
def take_magnitudes(space: NDArray[np.float32]) -> None:
    """Set IMPORTANCE = |x|: Q2_K without an imatrix."""
    for i in range(TILE):
        space[IMPORTANCE + i] = abs(space[VALUE + i])


@kernel
def take_squares(space: NDArray[np.float32]) -> None:
    """Set IMPORTANCE = x * x: types with a scale and no minimum, without an imatrix."""
    for i in range(TILE):
        x = space[VALUE + i]
        space[IMPORTANCE + i] = f32(x * x)


@kernel
def take_columns(columns: NDArray[np.float32], first: int, elements: int, space: NDArray[np.float32]) -> None:
    """Set IMPORTANCE to the imatrix's numbers as they are.

    Args:
        columns: (elements of a row,).
        first: number of the tile's first weight, counted from the beginning of a row.
        elements: of a sub-block.
        space: the workspace.
    """
    natural = space[NATURAL : NATURAL + elements * LANES]
    place = first % columns.size
    for i in range(natural.size):
        natural[i] = columns[place]
        place += 1
        place = 0 if place == columns.size else place
    transpose(space, elements, IMPORTANCE)


@kernel
def weigh_columns(
    columns: NDArray[np.float32], first: int, elements: int, space: NDArray[np.float32]
) -> None:
    """Set IMPORTANCE = column's number * sqrt(SPREAD + x * x); arguments as in `take_columns`."""
    take_columns(columns, first, elements, space)
    for i in range(elements):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            x = space[VALUE + row + lane]
            root = np.sqrt(f32(space[SPREAD + lane] + f32(x * x)))
            space[IMPORTANCE + row + lane] = f32(space[IMPORTANCE + row + lane] * root)


@kernel
def measure_super_blocks(
    natural: NDArray[np.float32], factor: np.float32, divisor: np.float32, space: NDArray[np.float32]
) -> None:
    """Set SPREAD of the lanes to `factor` * sum of squares / `divisor` of their super-block of 256 weights.

    Four super-blocks are summed up at a time: one alone would wait for each of its additions.
    """
    lanes = LANES * 256 // natural.size
    for first in range(0, natural.size, 1024):
        four = natural[first : first + 1024]
        a, b, c, d = ZERO, ZERO, ZERO, ZERO
        for i in range(256):
            a = f32(a + f32(four[i] * four[i]))
            b = f32(b + f32(four[i + 256] * four[i + 256]))
            c = f32(c + f32(four[i + 512] * four[i + 512]))
            d = f32(d + f32(four[i + 768] * four[i + 768]))
        place = SPREAD + first // 256 * lanes
        for lane in range(lanes):
            space[place + lane] = f32(f32(factor * a) / divisor)
            space[place + lanes + lane] = f32(f32(factor * b) / divisor)
            space[place + 2 * lanes + lane] = f32(f32(factor * c) / divisor)
            space[place + 3 * lanes + lane] = f32(f32(factor * d) / divisor)


@kernel
def mean_squares(source: NDArray[np.uint16], kind: int, row_elements: int, rows: NDArray[np.float32]) -> None:
    """Set `rows` to the mean square of each row: what the types of 32-weight blocks take for the spread."""
    natural = np.empty(1024, np.float32)
    for row in range(rows.size):
        total = ZERO
        for begin in range(0, row_elements, natural.size):
            count = min(natural.size, row_elements - begin)
            widen(source, kind, row * row_elements + begin, count, natural)
            for i in range(count):
                total = f32(total + f32(natural[i] * natural[i]))
        rows[row] = f32(total / f32(row_elements))


@kernel
def spread_rows(rows: NDArray[np.float32], first: int, row_elements: int, space: NDArray[np.float32]) -> None:
    """Set SPREAD of the 64 blocks of 32 weights from weight `first` on to their rows' mean squares."""
    for lane in range(LANES):
        row = (first + lane * 32) // row_elements
        space[SPREAD + lane] = rows[row] if row < rows.size else ZERO
