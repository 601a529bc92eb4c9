"""Q4_K and Q5_K: super-blocks of 256 weights, eight sub-blocks with a 6-bit scale and a 6-bit minimum each.

Both types are one compiled function: they differ in the levels (15 or 31), the scales tried and 32 bytes of
fifth bits. A block is: half float d, half float dmin, 12 bytes of scales and minimums, [32 bytes of fifth
bits,] 128 bytes of low four bits. A weight is d * scale * level - dmin * minimum.

Worked block: 256 weights that are all 1.0. Each sub-block is flat above zero, so its minimum becomes 0, the
scale 1/15 with levels 15. d = 1/15 / 63, all scales are 63, dmin and all minimums 0, and all quants are 0xFF.

Source: `quantize_row_q4_K_ref`, `quantize_row_q4_K_impl` and the same of q5_K in ggml/src/ggml-quants.c of
llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import minimum_search as place
from phi4local.convert.kernels.arithmetic import (
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
from phi4local.convert.kernels.minimum_search import inverse_scale_steps, search, stored_levels
from phi4local.convert.kernels.packing import IN_ORDER, ROOM, SCRATCH, put_in_order, write_eight_bits
from phi4local.convert.kernels.scale_search import positive_scale
from phi4local.convert.kernels.tiles import (
    IMPORTANCE,
    LANES,
    NATURAL,
    TILE,
    VALUE,
    transpose,
    widen,
    workspace,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUPER_BLOCKS = LANES // 8
ELEMENTS = 32
SCALE, OFFSET, SUM_W = place.SCALE, place.OFFSET, place.SUM_W
BEST_SCALE, MINIMUM = place.BEST_SCALE, place.MINIMUM
ROOT_MEAN_SQUARE = place.WORKSPACE
NEGATED = ROOT_MEAN_SQUARE + LANES
WORKSPACE = NEGATED + LANES
COUNT = f32(ELEMENTS)
TWO, SUPER_BLOCK = f32(2), f32(256)
SIX_BITS = f32(63)
STEPS = {"Q4_K": inverse_scale_steps(15, -1.0, 0.1, 21), "Q5_K": inverse_scale_steps(31, -0.5, 0.1, 16)}
WEIGHTED_STEPS = {
    "Q4_K": inverse_scale_steps(15, -0.9, 0.05, 37),
    "Q5_K": inverse_scale_steps(31, -0.9, 0.05, 37),
}


@kernel
def add_root_mean_square(space: NDArray[np.float32]) -> None:
    """Set IMPORTANCE = root mean square of the sub-block + |x|: what matters without an imatrix."""
    for lane in range(LANES):
        space[ROOT_MEAN_SQUARE + lane] = ZERO
    for i in range(ELEMENTS):
        for lane in range(LANES):
            x = space[VALUE + i * LANES + lane]
            space[ROOT_MEAN_SQUARE + lane] = f32(space[ROOT_MEAN_SQUARE + lane] + f32(x * x))
    for lane in range(LANES):
        space[ROOT_MEAN_SQUARE + lane] = np.sqrt(f32(space[ROOT_MEAN_SQUARE + lane] / COUNT))
    for i in range(ELEMENTS):
        for lane in range(LANES):
            x = space[VALUE + i * LANES + lane]
            space[IMPORTANCE + i * LANES + lane] = f32(space[ROOT_MEAN_SQUARE + lane] + abs(x))


@kernel
def six_bits(value: np.float32, scale: np.float32) -> np.uint8:
    """Return `scale * value` as a whole number up to 63, cut to eight bits first, as ggml does."""
    return min(u8(63), u8(nearest_int(f32(scale * value)) & 255))


@kernel
def round_scales(
    space: NDArray[np.float32], first: int, sixes: NDArray[np.uint8]
) -> tuple[np.float32, np.float32]:
    """Set `sixes` to eight scales and eight minimums of lanes `first`...; return d and dmin.

    The largest becomes 63. Example: scales 0.63 and 0.3 → d = 0.01 and 63, 30.
    """
    largest_scale, largest_minimum = ZERO, ZERO
    for j in range(8):
        scale, minimum = space[BEST_SCALE + first + j], f32(-space[MINIMUM + first + j])
        largest_scale = scale if scale > largest_scale else largest_scale
        largest_minimum = minimum if minimum > largest_minimum else largest_minimum
    by_scale = f32(SIX_BITS / largest_scale) if largest_scale > ZERO else ZERO
    by_minimum = f32(SIX_BITS / largest_minimum) if largest_minimum > ZERO else ZERO
    for j in range(8):
        sixes[j] = six_bits(space[BEST_SCALE + first + j], by_scale)
        sixes[8 + j] = six_bits(f32(-space[MINIMUM + first + j]), by_minimum)
    return f32(largest_scale / SIX_BITS), f32(largest_minimum / SIX_BITS)


@kernel
def search_scales(
    space: NDArray[np.float32], first: int, bits: int, sixes: NDArray[np.uint8]
) -> tuple[np.float32, np.float32]:
    """Do what `round_scales` does, with an imatrix: by a search over the sums of importance."""
    minimums = space[NEGATED : NEGATED + 8]
    for j in range(8):
        minimums[j] = f32(-space[MINIMUM + first + j])
    weights = space[SUM_W + first : SUM_W + first + 8]
    scale = positive_scale(space[BEST_SCALE + first : BEST_SCALE + first + 8], weights, 63, sixes[:8])
    minimum = positive_scale(minimums, weights, 63, sixes[8:16])
    if bits == 5:
        for j in range(16):
            sixes[j] = min(u8(63), sixes[j])
    return scale, minimum


@kernel
def write_scales(
    space: NDArray[np.float32],
    first: int,
    scales: tuple[np.float32, np.float32],
    sixes: NDArray[np.uint8],
    head: NDArray[np.uint8],
) -> None:
    """Write d, dmin and the 12 bytes of one super-block, and set SCALE and OFFSET to what they now stand for.

    Scales 0-3 take the low six bits of bytes 0-3; scales 4-7 have their low four bits in bytes 8-11 and
    their upper two in the tops of bytes 0-3. The same for minimums with bytes 4-7: 8 x 12 bits in 12 bytes.
    They are read back, because a number above 63 (a scale below zero, wrapped around) spills over.
    """
    d, dmin = half_bits(scales[0]), half_bits(scales[1])
    d_value, dmin_value = half_value(d), half_value(dmin)
    head[0], head[1] = u8(d & 255), u8(d >> 8)
    head[2], head[3] = u8(dmin & 255), u8(dmin >> 8)
    for j in range(4):
        head[4 + j] = sixes[j] | u8((sixes[j + 4] >> 4) << 6)
        head[8 + j] = sixes[8 + j] | u8((sixes[j + 12] >> 4) << 6)
        head[12 + j] = (sixes[j + 4] & 15) | u8((sixes[j + 12] & 15) << 4)
    for j in range(4):
        scale, minimum = head[4 + j], head[8 + j]
        space[SCALE + first + j] = f32(d_value * f32(scale & 63))
        space[OFFSET + first + j] = f32(dmin_value * f32(minimum & 63))
        scale, minimum = (
            (head[12 + j] & 15) | u8((scale >> 6) << 4),
            (head[12 + j] >> 4) | u8((minimum >> 6) << 4),
        )
        space[SCALE + first + 4 + j] = f32(d_value * f32(scale))
        space[OFFSET + first + 4 + j] = f32(dmin_value * f32(minimum))


@kernel
def write_low_bits(ordered: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Byte i of 32 holds weight i of two neighbouring sub-blocks: levels 5 and 12 make 0xC5."""
    for i in range(32):
        target[i] = (ordered[i] & 15) | u8((ordered[i + 32] & 15) << 4)
        target[i + 32] = (ordered[i + 64] & 15) | u8((ordered[i + 96] & 15) << 4)
        target[i + 64] = (ordered[i + 128] & 15) | u8((ordered[i + 160] & 15) << 4)
        target[i + 96] = (ordered[i + 192] & 15) | u8((ordered[i + 224] & 15) << 4)


@kernel
def store_tile(
    space: NDArray[np.float32],
    levels: NDArray[np.uint8],
    bits: int,
    weighted: bool,
    target: NDArray[np.uint8],
) -> None:
    """Write the first blocks of a searched tile, as many as `target` holds."""
    size = 144 if bits == 4 else 176
    blocks = target.size // size
    sixes = levels[SCRATCH:]
    for block in range(blocks):
        if weighted:
            scales = search_scales(space, block * 8, bits, sixes)
        else:
            scales = round_scales(space, block * 8, sixes)
        write_scales(space, block * 8, scales, sixes, target[block * size : block * size + 16])
    stored_levels(space, i32((1 << bits) - 1), levels[:TILE])
    put_in_order(levels, ELEMENTS)
    for block in range(blocks):
        rest = target[block * size + 16 : (block + 1) * size]
        ordered = levels[IN_ORDER + block * 256 : IN_ORDER + (block + 1) * 256]
        if bits == 5:
            write_eight_bits(ordered, 4, rest[:32])
        write_low_bits(ordered, rest[size - 16 - 128 :])


@entry
def quantize(
    source: NDArray[np.uint16],
    kind: int,
    bits: int,
    steps: NDArray[np.float32],
    columns: NDArray[np.float32],
    target: NDArray[np.uint8],
) -> None:
    """Store whole blocks.

    Args:
        source: bits of the numbers of whole rows.
        kind: BF16, F16 or F32.
        bits: 4 or 5.
        steps: `STEPS` of the type, or `WEIGHTED_STEPS` with an imatrix.
        columns: the imatrix's numbers, (elements of a row,), or none.
        target: (blocks * 144,), or 176 for five bits.
    """
    space = workspace(WORKSPACE)
    natural = space[NATURAL : NATURAL + TILE]
    levels = workspace(ROOM // 4).view(np.uint8)
    size = 144 if bits == 4 else 176
    blocks = target.size // size
    for first in range(0, blocks, SUPER_BLOCKS):
        last = min(first + SUPER_BLOCKS, blocks)
        widen(source, kind, first * 256, (last - first) * 256, natural)
        if columns.size:
            measure_super_blocks(natural, TWO, SUPER_BLOCK, space)
        transpose(space, ELEMENTS, VALUE)
        if columns.size:
            weigh_columns(columns, first * 256, ELEMENTS, space)
        else:
            add_root_mean_square(space)
        search(space, steps, (1 << bits) - 1, ELEMENTS, False)
        store_tile(space, levels, bits, columns.size > 0, target[first * size : last * size])
