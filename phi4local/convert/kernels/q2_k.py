"""Q2_K: super-blocks of 256 weights, sixteen sub-blocks with a 4-bit scale and a 4-bit minimum each.

A block is: 16 bytes with a scale in the low and a minimum in the high bits, 64 bytes of levels, half float d,
half float dmin. A weight is d * scale * level - dmin * minimum, with levels 0...3.

Worked block: 256 weights that are all 1.0. Each sub-block is flat above zero, so its minimum is 0, the scale
1/3 with levels 3. d = 1/3 / 15, all scale bytes are 0x0F, dmin is 0, and all levels' bytes are 0xFF.

Source: `quantize_row_q2_K_ref`, `quantize_row_q2_K_impl` in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import minimum_search as place
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
from phi4local.convert.kernels.importance import measure_super_blocks, take_magnitudes, weigh_columns
from phi4local.convert.kernels.minimum_search import inverse_scale_steps, search, stored_levels
from phi4local.convert.kernels.packing import IN_ORDER, ROOM, SCRATCH, put_in_order, write_two_bits
from phi4local.convert.kernels.scale_search import positive_scale
from phi4local.convert.kernels.tiles import LANES, NATURAL, VALUE, transpose, widen, workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 16
LEVELS = 3
WEIGHTS = ELEMENTS * LANES
SUPER_BLOCKS = LANES // 16
BLOCK_BYTES = 84
SCALE, OFFSET, SUM_W = place.SCALE, place.OFFSET, place.SUM_W
BEST_SCALE, MINIMUM = place.BEST_SCALE, place.MINIMUM
NEGATED = place.WORKSPACE
WORKSPACE = NEGATED + LANES
FOUR_BITS = f32(15)
SUPER_BLOCK = f32(256)
STEPS = inverse_scale_steps(LEVELS, -0.5, 0.1, 16)
WEIGHTED_STEPS = inverse_scale_steps(LEVELS, -0.9, 0.05, 37)


@kernel
def round_numbers(numbers: NDArray[np.float32], levels: NDArray[np.uint8]) -> np.float32:
    """Set `levels` to the numbers, the largest as 15, and return what one level is worth."""
    largest = ZERO
    for x in numbers:
        largest = x if x > largest else largest
    if largest > ZERO:
        inverse = f32(FOUR_BITS / largest)
        for j in range(16):
            levels[j] = u8(nearest_int(f32(inverse * numbers[j])) & 255)
        return f32(largest / FOUR_BITS)
    levels[:] = 0
    return ZERO


@kernel
def write_scales(
    space: NDArray[np.float32],
    first: int,
    weighted: bool,
    both: NDArray[np.uint8],
    target: NDArray[np.uint8],
) -> None:
    """Write the 16 bytes, d and dmin of the super-block of lanes `first`..., and set SCALE and OFFSET.

    `both` is scratch for 16 scales and 16 minimums.
    """
    levels, minimum_levels = both[:16], both[16:32]
    scales = space[BEST_SCALE + first : BEST_SCALE + first + 16]
    minimums = space[NEGATED : NEGATED + 16]
    for j in range(16):
        minimums[j] = f32(-space[MINIMUM + first + j])
    if weighted:
        weights = space[SUM_W + first : SUM_W + first + 16]
        scale = positive_scale(scales, weights, 15, levels)
        minimum = positive_scale(minimums, weights, 15, minimum_levels)
    else:
        scale, minimum = round_numbers(scales, levels), round_numbers(minimums, minimum_levels)
    d, dmin = half_bits(scale), half_bits(minimum)
    d_value, dmin_value = half_value(d), half_value(dmin)
    for j in range(16):
        pair = u8(levels[j] | u8(minimum_levels[j] << 4))
        target[j] = pair
        space[SCALE + first + j] = f32(d_value * f32(pair & 15))
        space[OFFSET + first + j] = f32(dmin_value * f32(pair >> 4))
    target[80], target[81] = u8(d & 255), u8(d >> 8)
    target[82], target[83] = u8(dmin & 255), u8(dmin >> 8)


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
        steps: `STEPS`, or `WEIGHTED_STEPS` with an imatrix.
        columns: the imatrix's numbers, (elements of a row,), or none.
        target: (blocks * 84,).
    """
    space = workspace(WORKSPACE)
    natural = space[NATURAL : NATURAL + WEIGHTS]
    levels = workspace(ROOM // 4).view(np.uint8)
    weighted = columns.size > 0
    blocks = target.size // BLOCK_BYTES
    for first in range(0, blocks, SUPER_BLOCKS):
        last = min(first + SUPER_BLOCKS, blocks)
        widen(source, kind, first * 256, (last - first) * 256, natural)
        if weighted:
            measure_super_blocks(natural, ONE, SUPER_BLOCK, space)
        transpose(space, ELEMENTS, VALUE)
        if weighted:
            weigh_columns(columns, first * 256, ELEMENTS, space)
        else:
            take_magnitudes(space)
        search(space, steps, LEVELS, ELEMENTS, not weighted)
        for block in range(first, last):
            place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
            write_scales(space, (block - first) * 16, weighted, levels[SCRATCH:], place)
        stored_levels(space, i32(LEVELS), levels[:WEIGHTS])
        put_in_order(levels, ELEMENTS)
        for block in range(first, last):
            begin = IN_ORDER + (block - first) * 256
            place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
            write_two_bits(levels[begin : begin + 256], place[16:80])
