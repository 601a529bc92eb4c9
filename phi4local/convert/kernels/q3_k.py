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
from phi4local.convert.kernels.scale_search import signed_scale
from phi4local.convert.kernels.symmetric_search import best_levels, inverse_scale_steps, search, stored_levels
from phi4local.convert.kernels.tiles import IMPORTANCE, LANES, TILE, VALUE, transpose, widen, workspace
from phi4local.convert.kernels.two_bits import write_two_bits

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 16
HALF = 4
WEIGHTS = ELEMENTS * LANES
SUPER_BLOCKS = LANES // 16
BLOCK_BYTES = 110
WORDS = LANES // 8
BEST_SCALE, SCALE = place.BEST_SCALE, place.SCALE
SUM_W = level_descent.WORKSPACE
WORKSPACE = SUM_W + LANES
TWO, SUPER_BLOCK = f32(2), f32(256)
LOWEST_BIT_OF_EACH = np.uint64(0x0101010101010101)
STEPS = inverse_scale_steps(HALF)


@kernel
def round_scales(scales: NDArray[np.float32], levels: NDArray[np.uint8]) -> np.float32:
    """Set `levels`, 0...63, to the scales, the largest as -32 + 32 = 0, and return d."""
    largest, magnitude = ZERO, ZERO
    for scale in scales:
        largest = scale if abs(scale) > magnitude else largest
        magnitude = abs(scale) if abs(scale) > magnitude else magnitude
    if largest == ZERO:
        levels[:] = 0
        return ZERO
    inverse = f32(f32(-32) / largest)
    for j in range(16):
        level = np.int8(nearest_int(f32(inverse * scales[j])))
        levels[j] = u8(i32(max(i32(-32), min(i32(31), i32(level)))) + i32(32))
    return f32(ONE / inverse)


@kernel
def search_scales(
    space: NDArray[np.float32], first: int, scales: NDArray[np.float32], levels: NDArray[np.uint8]
) -> np.float32:
    """Do what `round_scales` does, with an imatrix: by a search over the sums of importance."""
    weights = space[SUM_W : SUM_W + 16]
    weights[:] = ZERO
    for i in range(ELEMENTS):
        for j in range(16):
            weights[j] = f32(weights[j] + space[IMPORTANCE + i * LANES + first + j])
    return signed_scale(scales, weights, levels)


@kernel
def write_scales(
    space: NDArray[np.float32],
    first: int,
    weighted: bool,
    levels: NDArray[np.uint8],
    target: NDArray[np.uint8],
) -> None:
    """Write the 12 bytes and d of the super-block of lanes `first`..., and set SCALE.

    Bytes 0-7 hold the low four bits of scales 0-7, and above them those of scales 8-15. Byte 8 + j holds the
    upper two bits of scales j, j + 4, j + 8 and j + 12. `levels` is scratch for 16 of them.
    """
    scales = space[BEST_SCALE + first : BEST_SCALE + first + 16]
    number = search_scales(space, first, scales, levels) if weighted else round_scales(scales, levels)
    d = half_bits(number)
    d_value = half_value(d)
    for j in range(16):
        space[SCALE + first + j] = f32(d_value * f32(i32(levels[j]) - i32(32)))
    for j in range(8):
        target[96 + j] = (levels[j] & 15) | u8((levels[j + 8] & 15) << 4)
    for j in range(4):
        upper = (levels[j] >> 4) | u8((levels[j + 4] >> 4) << 2)
        target[104 + j] = upper | u8((levels[j + 8] >> 4) << 4) | u8((levels[j + 12] >> 4) << 6)
    target[108], target[109] = u8(d & 255), u8(d >> 8)


@kernel
def write_third_bits(words: NDArray[np.uint64], block: int, target: NDArray[np.uint8]) -> None:
    """Bit j of byte l is the third bit of weight l + 32 * j, gathered as in `write_two_bits`."""
    for i in range(ELEMENTS):
        even, odd = u8(0), u8(0)
        for half in range(2):
            word = np.uint64(words[i * WORDS + block * 2 + half] >> np.uint64(2))
            word = np.uint64(word & LOWEST_BIT_OF_EACH)
            word = np.uint64(word | np.uint64(word >> np.uint64(16 - 1)))
            word = np.uint64(word | np.uint64(word >> np.uint64(32 - 2)))
            even |= u8((word & np.uint64(15)) << np.uint64(4 * half))
            odd |= u8((np.uint64(word >> np.uint64(8)) & np.uint64(15)) << np.uint64(4 * half))
        target[i], target[i + 16] = even, odd


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
    blocks = target.size // BLOCK_BYTES
    for block in range(blocks):
        place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        write_scales(space, block * 16, weighted, levels[WEIGHTS:], place)
    stored_levels(space, HALF, levels[:WEIGHTS])
    for lane in range(LANES):
        if space[SCALE + lane] == ZERO:
            if weighted:
                best_levels(space, lane, HALF, levels[:WEIGHTS])
            else:
                level_descent.best_levels(space, lane, levels[:WEIGHTS])
    words = levels[:WEIGHTS].view(np.uint64)
    for block in range(blocks):
        place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        write_third_bits(words, block, place[:32])
        write_two_bits(words, block, place[32:96])


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
    space = workspace(WORKSPACE)
    natural = np.empty(WEIGHTS, np.float32)
    levels = np.empty(WEIGHTS + 16, np.uint8)  # and write_scales' scratch
    blocks = target.size // BLOCK_BYTES
    for first in range(0, blocks, SUPER_BLOCKS):
        last = min(first + SUPER_BLOCKS, blocks)
        widen(source, kind, first * 256, (last - first) * 256, natural)
        transpose(natural, ELEMENTS, space[VALUE : VALUE + TILE])
        if columns.size:
            measure_super_blocks(natural, TWO, SUPER_BLOCK, space)
            weigh_columns(columns, first * 256, ELEMENTS, space)
            search(space, steps, HALF, ELEMENTS)
        else:
            level_descent.search(space)
        store_tile(space, levels, columns.size > 0, target[first * BLOCK_BYTES : last * BLOCK_BYTES])
