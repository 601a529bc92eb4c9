"""IQ4_NL and IQ4_XS: blocks of 32 weights whose sixteen levels stand for `VALUES`, denser near zero.

An IQ4_NL block is: half float d, 16 bytes of levels. An IQ4_XS super-block of 256 weights is: half float d, 2
bytes with the upper and 4 bytes with the lower bits of eight scales, 128 bytes of levels. A weight is
d * (scale - 32) * VALUES[level], for IQ4_NL without the scale.

The search tries 16 inverse scales: the largest weight becomes 127, then -134 ... -120, which is to say that
-127 is stretched a little. For each it takes the nearest values and the least-squares scale for them.

Worked block: x = 1.27, -0.22, 0 ... 0. The first inverse scale is 1 / (1.27 / 127) = 100, so 127 → 113 (the
last value), -22 → -22, and 0 → 1. The tries with -127 / 1.27 = -100 find -127 → -127 and 22 → 25 instead.

Source: `quantize_row_iq4_nl_impl` in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import itertools
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
    i32,
    kernel,
    nearest_int,
    u8,
)
from phi4local.convert.kernels.importance import measure_super_blocks, take_squares, weigh_columns
from phi4local.convert.kernels.nibbles import write_nibbles
from phi4local.convert.kernels.tiles import (
    IMPORTANCE,
    LANES,
    NATURAL,
    SPREAD,
    TILE,
    VALUE,
    transpose,
    widen,
    workspace,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUES = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
V = tuple(f32(value) for value in VALUES)
MIDDLES = tuple(f32((low + high) / 2) for low, high in itertools.pairwise(VALUES))
"""From here on the upper one of two neighbours is taken: -115.5, -93.5, … 101. Exact in float32."""

ELEMENTS = 32
UNROLL = 2
LOWEST = f32(-127)
STEPS = np.array(range(-134, -119), np.float32)
LARGEST, MAGNITUDE, INVERSE = place.LARGEST, place.MAGNITUDE, place.INVERSE
SUM_XL, SUM_L2 = place.SUM_XL, place.SUM_L2
BEST_SCALE, BEST = place.BEST_SCALE, place.BEST
WORKSPACE = place.WORKSPACE
BY_BLOCK, BY_SUPER_BLOCK = f32(2 / 32), f32(2 / 256)


@kernel
def nearest_value(x: np.float32) -> np.float32:
    """Return the nearest of `VALUES`; NaN gives the last one, as in ggml. Example: 19 → 25, 18.9 → 13."""
    value = V[0] if x < MIDDLES[0] else V[1]
    value = value if x < MIDDLES[1] else V[2]
    value = value if x < MIDDLES[2] else V[3]
    value = value if x < MIDDLES[3] else V[4]
    value = value if x < MIDDLES[4] else V[5]
    value = value if x < MIDDLES[5] else V[6]
    value = value if x < MIDDLES[6] else V[7]
    value = value if x < MIDDLES[7] else V[8]
    value = value if x < MIDDLES[8] else V[9]
    value = value if x < MIDDLES[9] else V[10]
    value = value if x < MIDDLES[10] else V[11]
    value = value if x < MIDDLES[11] else V[12]
    value = value if x < MIDDLES[12] else V[13]
    value = value if x < MIDDLES[13] else V[14]
    return value if x < MIDDLES[14] else V[15]


@kernel
def search(space: NDArray[np.float32]) -> None:
    """Find BEST_SCALE of each of the 64 blocks at VALUE."""
    place.measure(space, ELEMENTS)
    add_values(space, ZERO)
    for lane in range(LANES):
        sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
        scale = f32(sum_xl / sum_l2)
        scale = scale if sum_l2 > ZERO else ZERO
        space[BEST_SCALE + lane] = scale
        space[BEST + lane] = f32(scale * sum_xl)
    for step in STEPS:
        add_values(space, step)
        keep_better(space)
    for lane in range(LANES):
        scale = space[BEST_SCALE + lane]
        space[BEST_SCALE + lane] = ZERO if space[MAGNITUDE + lane] < EPSILON else scale


@kernel
def add_values(space: NDArray[np.float32], step: np.float32) -> None:
    """Add up the sums of the least squares for the inverse scale `step` / LARGEST. The hot loop.

    Zero stands for the first inverse scale, which takes LARGEST to 127.
    """
    for lane in range(LANES):
        largest = space[LARGEST + lane]
        first = f32(ONE / f32(-largest / LOWEST))
        inverse = f32(step / largest)
        space[INVERSE + lane] = first if step == ZERO else inverse
        space[SUM_XL + lane] = ZERO
        space[SUM_L2 + lane] = ZERO
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            inverse = space[INVERSE + lane]
            sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
            for k in range(UNROLL):
                x = space[VALUE + (i + k) * LANES + lane]
                value = nearest_value(f32(inverse * x))
                weighted = f32(space[IMPORTANCE + (i + k) * LANES + lane] * value)
                sum_xl = f32(sum_xl + f32(weighted * x))
                sum_l2 = f32(sum_l2 + f32(weighted * value))
            space[SUM_XL + lane] = sum_xl
            space[SUM_L2 + lane] = sum_l2


@kernel
def keep_better(space: NDArray[np.float32]) -> None:
    """Keep this scale in the lanes where it explains more. All is loaded before it is selected."""
    for lane in range(LANES):
        sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
        best_scale, best = space[BEST_SCALE + lane], space[BEST + lane]
        better = (sum_l2 > ZERO) & (f32(sum_xl * sum_xl) > f32(best * sum_l2))
        scale = f32(sum_xl / sum_l2)
        space[BEST_SCALE + lane] = scale if better else best_scale
        space[BEST + lane] = f32(scale * sum_xl) if better else best


@kernel
def write_levels(space: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
    """Set the levels for INVERSE: a level is the number of middles that are not above it."""
    for i in range(ELEMENTS):
        for lane in range(LANES):
            scaled = f32(space[INVERSE + lane] * space[VALUE + i * LANES + lane])
            level = u8(0)
            for middle in MIDDLES:
                level += u8(0) if scaled < middle else u8(1)
            levels[i * LANES + lane] = level


@kernel
def write_scales(space: NDArray[np.float32], first: int, head: NDArray[np.uint8]) -> None:
    """Write the 8 bytes before the levels of an IQ4_XS super-block, and set INVERSE of its eight lanes.

    The largest scale becomes -32 of -32...31. Unlike in other types the levels are those of d before it was
    rounded to a half float.
    """
    largest, magnitude = ZERO, ZERO
    for j in range(8):
        scale = space[BEST_SCALE + first + j]
        largest = scale if abs(scale) > magnitude else largest
        magnitude = abs(scale) if abs(scale) > magnitude else magnitude
    d = f32(-largest / f32(32))
    inverse = f32(ONE / d) if d != ZERO else ZERO
    upper = i32(0)
    for j in range(8):
        level = nearest_int(f32(inverse * space[BEST_SCALE + first + j]))
        level = max(i32(-32), min(i32(31), level))
        scale = f32(d * f32(level))
        space[INVERSE + first + j] = f32(ONE / scale) if scale != ZERO else ZERO
        level = i32(level + i32(32))
        if j % 2 == 0:
            head[4 + j // 2] = u8(level & 15)
        else:
            head[4 + j // 2] |= u8((level & 15) << 4)
        upper |= i32((level >> 4) << (2 * j))
    bits = half_bits(d)
    head[0], head[1] = u8(bits & 255), u8(bits >> 8)
    head[2], head[3] = u8(upper & 255), u8(upper >> 8)


@kernel
def measure_blocks(space: NDArray[np.float32]) -> None:
    """Set SPREAD of each lane to twice its mean square."""
    for lane in range(LANES):
        space[SPREAD + lane] = ZERO
    for i in range(0, ELEMENTS, 8):
        for lane in range(LANES):
            spread = space[SPREAD + lane]
            for k in range(8):
                x = space[VALUE + (i + k) * LANES + lane]
                spread = f32(spread + f32(x * x))
            space[SPREAD + lane] = f32(spread * BY_BLOCK) if i == ELEMENTS - 8 else spread


@kernel
def store_blocks(space: NDArray[np.float32], levels: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """Write the first IQ4_NL blocks of a searched tile, as many as `target` holds."""
    for lane in range(LANES):
        scale = space[BEST_SCALE + lane]
        inverse = f32(ONE / scale)
        space[INVERSE + lane] = inverse if scale != ZERO else ZERO
    write_levels(space, levels)
    for lane in range(target.size // 18):
        bits = half_bits(space[BEST_SCALE + lane])
        target[lane * 18], target[lane * 18 + 1] = u8(bits & 255), u8(bits >> 8)
        write_nibbles(levels, lane, target[lane * 18 + 2 : lane * 18 + 18])


@kernel
def store_super_blocks(
    space: NDArray[np.float32], levels: NDArray[np.uint8], target: NDArray[np.uint8]
) -> None:
    """Write the first IQ4_XS super-blocks of a searched tile, as many as `target` holds."""
    for block in range(target.size // 136):
        write_scales(space, block * 8, target[block * 136 : block * 136 + 8])
    write_levels(space, levels)
    for block in range(target.size // 136):
        for j in range(8):
            first = block * 136 + 8 + 16 * j
            write_nibbles(levels, block * 8 + j, target[first : first + 16])


@entry
def quantize(
    source: NDArray[np.uint16],
    kind: int,
    super_blocks: bool,
    columns: NDArray[np.float32],
    target: NDArray[np.uint8],
) -> None:
    """Store whole blocks.

    Args:
        source: bits of the numbers of whole rows.
        kind: BF16, F16 or F32.
        super_blocks: whether the type is IQ4_XS.
        columns: the imatrix's numbers, (elements of a row,), or none.
        target: (blocks * 18,), or (super-blocks * 136,).
    """
    space = workspace(WORKSPACE)
    natural = space[NATURAL : NATURAL + TILE]
    levels = np.empty(TILE, np.uint8)
    weights, size = (256, 136) if super_blocks else (32, 18)
    blocks, step = target.size // size, TILE // weights
    for first in range(0, blocks, step):
        last = min(first + step, blocks)
        widen(source, kind, first * weights, (last - first) * weights, natural)
        if columns.size and super_blocks:
            measure_super_blocks(natural, BY_SUPER_BLOCK, ONE, space)
        transpose(space, ELEMENTS, VALUE)
        if columns.size:
            if not super_blocks:
                measure_blocks(space)
            weigh_columns(columns, first * weights, ELEMENTS, space)
        else:
            take_squares(space)
        search(space)
        if super_blocks:
            store_super_blocks(space, levels, target[first * size : last * size])
        else:
            store_blocks(space, levels, target[first * size : last * size])
