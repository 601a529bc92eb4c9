"""Q6_K: super-blocks of 256 weights, sixteen sub-blocks with an 8-bit scale each and no minimum.

A block is: 128 bytes of low four bits, 64 bytes of upper two bits, 16 signed scales, a half float d. A weight
is d * scale * (level - 32). With an imatrix its numbers take the place of x * x in the search.

Worked block: 256 weights, 2 and -1 in turn. Each scale is -0.0625 (see `symmetric_search`), so all 16 scales
become -128, d = 0.0625 / 128, and the levels -32 and 16 are stored as 0 and 48.

Source: `quantize_row_q6_K_ref`, `quantize_row_q6_K_impl` in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import symmetric_search as place
from phi4local.convert.kernels.arithmetic import (
    EPSILON,
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
from phi4local.convert.kernels.importance import take_columns, take_squares
from phi4local.convert.kernels.packing import IN_ORDER, ROOM, SCRATCH, put_in_order
from phi4local.convert.kernels.symmetric_search import (
    best_levels,
    inverse_scale_steps,
    largest_of,
    search,
    stored_levels,
)
from phi4local.convert.kernels.tiles import LANES, NATURAL, VALUE, any_is_zero, transpose, widen, workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 16
HALF = 32
WEIGHTS = ELEMENTS * LANES
SUPER_BLOCKS = LANES // 16
BLOCK_BYTES = 210
BEST_SCALE, SCALE = place.BEST_SCALE, place.SCALE
WORKSPACE = place.WORKSPACE
STEPS = inverse_scale_steps(HALF)


@kernel
def write_scales(space: NDArray[np.float32], block: int, target: NDArray[np.uint8]) -> bool:
    """Write the 16 scales and d of one super-block, and set SCALE. Return `False` if all of it is zeros.

    The largest scale becomes -128: scales of 0.5 and -0.25 give d = -0.5 / 128 and the bytes -128 and 64.
    """
    first = block * 16
    largest = largest_of(space[BEST_SCALE + first : BEST_SCALE + first + 16])
    if abs(largest) < EPSILON:
        for j in range(16):
            space[SCALE + first + j] = ONE
        return False
    inverse = f32(f32(-128) / largest)
    d = half_bits(f32(ONE / inverse))
    d_value = half_value(d)
    for j in range(16):
        scale = np.int8(min(i32(127), nearest_int(f32(inverse * space[BEST_SCALE + first + j]))))
        target[192 + j] = u8(scale)
        space[SCALE + first + j] = f32(d_value * f32(scale))
    target[208], target[209] = u8(d & 255), u8(d >> 8)
    return True


@kernel
def write_bits(ordered: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """For each half of 256 weights, byte l of 64 holds the low bits of weights l and l + 64.

    Byte l of 32 holds the upper bits of weights l, l + 32, l + 64 and l + 96: levels 1, 17, 33 and 49 have
    the upper bits 0, 1, 2 and 3, which make 0b11100100.
    """
    for half in range(2):
        weights = ordered[half * 128 : half * 128 + 128]
        low, high = target[half * 64 : half * 64 + 64], target[128 + half * 32 : 160 + half * 32]
        for l in range(32):  # noqa: E741 - ggml's name
            a, b, c, d = weights[l], weights[l + 32], weights[l + 64], weights[l + 96]
            low[l] = (a & 15) | u8((c & 15) << 4)
            low[l + 32] = (b & 15) | u8((d & 15) << 4)
            high[l] = (a >> 4) | u8((b >> 4) << 2) | u8((c >> 4) << 4) | u8((d >> 4) << 6)


@kernel
def store_tile(space: NDArray[np.float32], levels: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Write the first blocks of a searched tile, as many as `target` holds.

    A block without any scale is zeros; a sub-block whose stored scale is zero keeps its searched levels.
    """
    blocks = target.size // BLOCK_BYTES
    filled = levels[SCRATCH:]
    for block in range(blocks):
        filled[block] = write_scales(space, block, target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES])
    stored_levels(space, HALF, levels[:WEIGHTS])
    if any_is_zero(space, SCALE):
        for lane in range(LANES):
            if space[SCALE + lane] == ZERO:
                best_levels(space, lane, HALF, levels[:WEIGHTS])
    put_in_order(levels, ELEMENTS)
    for block in range(blocks):
        place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        if filled[block]:
            write_bits(levels[IN_ORDER + block * 256 : IN_ORDER + (block + 1) * 256], place)
        else:
            place[:] = 0


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
        steps: `STEPS`.
        columns: the imatrix's numbers, (elements of a row,), or none.
        target: (blocks * 210,).
    """
    space = workspace(WORKSPACE)
    natural = space[NATURAL : NATURAL + WEIGHTS]
    levels = workspace(ROOM // 4).view(np.uint8)
    blocks = target.size // BLOCK_BYTES
    for first in range(0, blocks, SUPER_BLOCKS):
        last = min(first + SUPER_BLOCKS, blocks)
        widen(source, kind, first * 256, (last - first) * 256, natural)
        transpose(space, ELEMENTS, VALUE)
        if columns.size:
            take_columns(columns, first * 256, ELEMENTS, space)
        else:
            take_squares(space)
        search(space, steps, HALF, ELEMENTS)
        store_tile(space, levels, target[first * BLOCK_BYTES : last * BLOCK_BYTES])
