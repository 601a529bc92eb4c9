"""Q4_0, Q4_1, Q5_0 and Q5_1 with an imatrix: blocks of 32 weights with a half float scale of their own.

A block is: half float d, [half float m for Q4_1 and Q5_1,] [4 bytes of fifth bits for Q5_0 and Q5_1,] 16
bytes of low four bits. A weight is d * (level - 8), d * (level - 16), or d * level + m. The levels are
those that the search ended with. Without an imatrix ggml does not search, and is faster than a disk.

Worked block of Q4_0, all columns alike: 32 weights that are all 1.0. The inverse scale is -8 / 1, all levels
are -8 + 8 = 0, and d = -0.125.

Source: `quantize_row_q4_0_impl` and its three neighbours in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import minimum_search, symmetric_search
from phi4local.convert.kernels.arithmetic import entry, half_bits, i32, kernel, u8
from phi4local.convert.kernels.importance import mean_squares, spread_rows, weigh_columns
from phi4local.convert.kernels.nibbles import write_fifth_bits, write_nibbles
from phi4local.convert.kernels.tiles import LANES, NATURAL, TILE, VALUE, transpose, widen, workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 32
SCALE, MINIMUM = minimum_search.BEST_SCALE, minimum_search.MINIMUM
SYMMETRIC_SCALE = symmetric_search.BEST_SCALE
WORKSPACE = max(minimum_search.WORKSPACE, symmetric_search.WORKSPACE)
STEPS = {
    "Q4_0": symmetric_search.inverse_scale_steps(8),
    "Q5_0": symmetric_search.inverse_scale_steps(16),
    "Q4_1": minimum_search.inverse_scale_steps(15, -0.9, 0.05, 37),
    "Q5_1": minimum_search.inverse_scale_steps(31, -0.9, 0.05, 37),
}


@kernel
def search(
    space: NDArray[np.float32],
    bits: int,
    minimums: bool,
    steps: NDArray[np.float32],
    levels: NDArray[np.uint8],
) -> None:
    """Find scales, minimums and levels of a tile."""
    if minimums:
        highest = (1 << bits) - 1
        minimum_search.search(space, steps, highest, ELEMENTS, False)
        for lane in range(LANES):
            minimum_search.best_levels(space, lane, i32(highest), levels)
    else:
        half = 1 << (bits - 1)
        symmetric_search.search(space, steps, half, ELEMENTS)
        for lane in range(LANES):
            symmetric_search.best_levels(space, lane, half, levels)


@kernel
def store_tile(
    space: NDArray[np.float32],
    bits: int,
    minimums: bool,
    levels: NDArray[np.uint8],
    target: NDArray[np.uint8],
) -> None:
    """Write the first blocks of a searched tile, as many as `target` holds."""
    size = 18 + (2 if minimums else 0) + (4 if bits == 5 else 0)
    for lane in range(target.size // size):
        block = target[lane * size : (lane + 1) * size]
        d = half_bits(space[SCALE + lane] if minimums else space[SYMMETRIC_SCALE + lane])
        block[0], block[1] = u8(d & 255), u8(d >> 8)
        if minimums:
            m = half_bits(space[MINIMUM + lane])
            block[2], block[3] = u8(m & 255), u8(m >> 8)
        if bits == 5:
            write_fifth_bits(levels, lane, block[size - 20 : size - 16])
        write_nibbles(levels, lane, block[size - 16 :])


@entry
def quantize(
    source: NDArray[np.uint16],
    kind: int,
    bits: int,
    steps: NDArray[np.float32],
    columns: NDArray[np.float32],
    target: NDArray[np.uint8],
) -> None:
    """Store whole rows.

    Args:
        source: bits of the numbers of whole rows.
        kind: BF16, F16 or F32.
        bits: 4 or 5.
        steps: `STEPS` of the type; 37 of them mean a type with minimums.
        columns: the imatrix's numbers, (elements of a row,).
        target: (blocks * 18,), 2 bytes more with minimums, 4 more for five bits.
    """
    space = workspace(WORKSPACE)
    natural = space[NATURAL : NATURAL + TILE]
    levels = np.empty(TILE, np.uint8)
    minimums = steps.size == 37
    size = 18 + (2 if minimums else 0) + (4 if bits == 5 else 0)
    blocks = target.size // size
    rows = np.empty(blocks * ELEMENTS // columns.size, np.float32)
    mean_squares(source, kind, columns.size, rows)
    for first in range(0, blocks, LANES):
        last = min(first + LANES, blocks)
        widen(source, kind, first * ELEMENTS, (last - first) * ELEMENTS, natural)
        transpose(space, ELEMENTS, VALUE)
        spread_rows(rows, first * ELEMENTS, columns.size, space)
        weigh_columns(columns, first * ELEMENTS, ELEMENTS, space)
        search(space, bits, minimums, steps, levels)
        store_tile(space, bits, minimums, levels, target[first * size : last * size])
