"""Q3_K: super-blocks of 256 weights, sixteen sub-blocks with a 6-bit scale each and no minimum.

A block is: 32 bytes of third bits, 64 bytes of low two bits, 12 bytes of scales, a half float d. A weight is
d * (scale - 32) * (level - 4), with levels 0...7.

Without an imatrix the search is that of `level_descent`; with one it is that of Q6_K, for the weights and for
the scales.

Worked block: 256 weights, 4 and -2 in turn. The inverse scale of each sub-block is -4 / 4 = -1, the levels
are -4 and 2 and fit exactly, so all scales are -1. They become -32 of -32...31, stored as 0, and d = 1 /
32. The levels are stored as 0 and 6: low two bits 0 and 2, third bits 0 and 1.

Source: `quantize_row_q3_K_ref`, `quantize_row_q3_K_impl` in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import level_descent
from phi4local.convert.kernels import symmetric_search as place
from phi4local.convert.kernels.arithmetic import (
    ONE,
    ZERO,
    entry,
    f32,
    half_bits,
    half_value,
    i32,
    kernel,
    nearest_int,
    u8,
)
from phi4local.convert.kernels.importance import measure_super_blocks, weigh_columns
from phi4local.convert.kernels.packing import (
    IN_ORDER,
    ROOM,
    SCRATCH,
    put_in_order,
    write_eight_bits,
    write_two_bits,
)
from phi4local.convert.kernels.scale_search import signed_scale
from phi4local.convert.kernels.symmetric_search import (
    best_levels,
    inverse_scale_steps,
    largest_of,
    search,
    stored_levels,
)
from phi4local.convert.kernels.tiles import (
    IMPORTANCE,
    LANES,
    MASK,
    NATURAL,
    VALUE,
    any_is_zero,
    of_its_block,
    transpose,
    widen,
    workspace,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 16
HALF = 4
WEIGHTS = ELEMENTS * LANES
SUPER_BLOCKS = LANES // 16
BLOCK_BYTES = 110
BEST_SCALE, SCALE = place.BEST_SCALE, place.SCALE
LARGEST, INVERSE, NUMBER = place.LARGEST, place.INVERSE, place.BEST
LOWEST, HIGHEST = i32(-32), i32(31)
SUM_W = level_descent.OWNER
WORKSPACE, TOGETHER = level_descent.WORKSPACE, level_descent.TOGETHER
TWO, SUPER_BLOCK = f32(2), f32(256)
STEPS = inverse_scale_steps(HALF)


@kernel
def round_scales(space: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
    """Set `levels`, 0...63 for each lane, and NUMBER of each super-block's first lane, which becomes d.

    The scale of largest magnitude becomes -32 + 32 = 0.
    """
    for block in range(SUPER_BLOCKS):
        first = (block & MASK) * 16
        largest = largest_of(space[BEST_SCALE + first : BEST_SCALE + first + 16])
        inverse = f32(f32(-32) / largest)
        space[LARGEST + first] = largest
        space[INVERSE + first] = inverse
        space[NUMBER + first] = ZERO if largest == ZERO else f32(ONE / inverse)
    a, b, c, d = space[INVERSE], space[INVERSE + 16], space[INVERSE + 32], space[INVERSE + 48]
    for lane in range(LANES):
        inverse = of_its_block(lane, a, b, c, d)
        level = i32(np.int8(nearest_int(f32(inverse * space[BEST_SCALE + lane]))))
        level = level if level > LOWEST else LOWEST
        level = level if level < HIGHEST else HIGHEST
        levels[lane] = u8(level - LOWEST)
    for block in range(SUPER_BLOCKS):
        if space[LARGEST + block * 16] == ZERO:
            levels[block * 16 : block * 16 + 16] = 0


@kernel
def search_scales(space: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
    """Do what `round_scales` does, with an imatrix: by a search over the sums of importance."""
    weights = space[SUM_W : SUM_W + 16]
    for first in range(0, LANES, 16):
        weights[:] = ZERO
        for i in range(ELEMENTS):
            for j in range(16):
                weights[j] = f32(weights[j] + space[IMPORTANCE + i * LANES + first + j])
        scales = space[BEST_SCALE + first : BEST_SCALE + first + 16]
        space[NUMBER + first] = signed_scale(scales, weights, levels[first : first + 16])


@kernel
def write_scales(number: np.float32, levels: NDArray[np.uint8], target: NDArray[np.uint8]) -> np.float32:
    """Write the 12 bytes and d of a super-block, and return d as it is stored.

    Bytes 0-7 hold the low four bits of scales 0-7, and above them those of scales 8-15. Byte 8 + j holds the
    upper two bits of scales j, j + 4, j + 8 and j + 12.
    """
    for j in range(8):
        target[96 + j] = (levels[j] & 15) | u8((levels[j + 8] & 15) << 4)
    for j in range(4):
        upper = (levels[j] >> 4) | u8((levels[j + 4] >> 4) << 2)
        target[104 + j] = upper | u8((levels[j + 8] >> 4) << 4) | u8((levels[j + 12] >> 4) << 6)
    d = half_bits(number)
    target[108], target[109] = u8(d & 255), u8(d >> 8)
    return half_value(d)


@kernel
def store_scales(
    space: NDArray[np.float32],
    weighted: bool,
    levels: NDArray[np.uint8],
    target: NDArray[np.uint8],
) -> None:
    """Write the scales of the blocks that `target` holds, and set SCALE of all lanes."""
    if weighted:
        search_scales(space, levels)
    else:
        round_scales(space, levels)
    for block in range(target.size // BLOCK_BYTES):
        first = (block & MASK) * 16
        place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        space[NUMBER + first] = write_scales(space[NUMBER + first], levels[first : first + 16], place)
    a, b, c, d = space[NUMBER], space[NUMBER + 16], space[NUMBER + 32], space[NUMBER + 48]
    for lane in range(LANES):
        space[SCALE + lane] = f32(of_its_block(lane, a, b, c, d) * f32(i32(levels[lane]) + LOWEST))


@kernel
def store_tile(
    space: NDArray[np.float32],
    levels: NDArray[np.uint8],
    weighted: bool,
    target: NDArray[np.uint8],
) -> None:
    """Write the first blocks of a searched tile, as many as `target` holds.

    A sub-block whose stored scale is zero keeps the levels that the search ended with.
    """
    store_scales(space, weighted, levels[SCRATCH:], target)
    stored_levels(space, HALF, levels[:WEIGHTS])
    if any_is_zero(space, SCALE):
        for lane in range(LANES):
            if space[SCALE + lane] == ZERO:
                if weighted:
                    best_levels(space, lane, HALF, levels[:WEIGHTS])
                else:
                    level_descent.best_levels(space, lane, levels[:WEIGHTS])
    put_in_order(levels, ELEMENTS)
    for block in range(target.size // BLOCK_BYTES):
        place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        ordered = levels[IN_ORDER + block * 256 : IN_ORDER + (block + 1) * 256]
        write_eight_bits(ordered, 2, place[:32])
        write_two_bits(ordered, place[32:96])


@entry
def quantize(
    source: NDArray[np.uint16],
    kind: int,
    steps: NDArray[np.float32],
    columns: NDArray[np.float32],
    target: NDArray[np.uint8],
) -> None:
    """Store whole blocks.

    Args:
        source: bits of the numbers of whole rows.
        kind: BF16, F16 or F32.
        steps: `STEPS`, for the search with an imatrix.
        columns: the imatrix's numbers, (elements of a row,), or none.
        target: (blocks * 110,).
    """
    spaces = workspace((TOGETHER + 1) * WORKSPACE)
    levels = workspace(ROOM // 4).view(np.uint8)
    blocks = target.size // BLOCK_BYTES
    for first in range(0, blocks, TOGETHER * SUPER_BLOCKS):
        last = min(first + TOGETHER * SUPER_BLOCKS, blocks)
        tiles = (last - first + SUPER_BLOCKS - 1) // SUPER_BLOCKS
        waiting = 0
        for tile in range(tiles):
            space = spaces[tile * WORKSPACE : (tile + 1) * WORKSPACE]
            natural = space[NATURAL : NATURAL + WEIGHTS]
            begin = first + tile * SUPER_BLOCKS
            widen(source, kind, begin * 256, min(SUPER_BLOCKS, last - begin) * 256, natural)
            if columns.size:
                measure_super_blocks(natural, TWO, SUPER_BLOCK, space)
            transpose(space, ELEMENTS, VALUE)
            if columns.size:
                weigh_columns(columns, begin * 256, ELEMENTS, space)
                search(space, steps, HALF, ELEMENTS)
            else:
                waiting = level_descent.search(spaces, tile, waiting)
        level_descent.finish(spaces, waiting)
        for tile in range(tiles):
            space = spaces[tile * WORKSPACE : (tile + 1) * WORKSPACE]
            if not columns.size:
                level_descent.solve(space)
            begin, end = first + tile * SUPER_BLOCKS, min(first + (tile + 1) * SUPER_BLOCKS, last)
            store_tile(space, levels, columns.size > 0, target[begin * BLOCK_BYTES : end * BLOCK_BYTES])
