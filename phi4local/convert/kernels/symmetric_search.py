"""The search of types with a scale and no minimum: ggml's `make_qx_quants`.

Q6_K, and with an imatrix Q3_K, Q4_0 and Q5_0. A weight is stored as scale * level with levels from -half to
half - 1. The search tries 19 inverse scales near -half / the weight of largest magnitude; for each it takes
the levels and the least-squares scale for them, and keeps what explains most.

Worked sub-block (half 32): x = 2, -1, 0 ... 0, importance x * x. The largest is 2, the inverse scale
-32 / 2 = -16, the levels are -32, 16 and 0. The sum of w * x * level is 4 * 2 * -32 + 1 * -1 * 16 = -272,
that of w * level**2 is 4352, so the scale is -272 / 4352 = -0.0625 and the error is 0.

Source: ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import (
    EPSILON,
    MAGIC,
    MAGIC_BITS,
    ZERO,
    f32,
    i32,
    kernel,
    nearest_int,
    u8,
)
from phi4local.convert.kernels.tiles import FIRST_FREE, IMPORTANCE, LANES, LEVEL, MASK, UNROLL, VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTED = LEVEL
"""The third tile holds importance * x: levels are not kept, they follow from BEST_INVERSE."""

# One number for each lane.
LARGEST = FIRST_FREE
MAGNITUDE = LARGEST + LANES
INVERSE = MAGNITUDE + LANES
SUM_XL = INVERSE + LANES
SUM_L2 = SUM_XL + LANES
BEST_SCALE = SUM_L2 + LANES
BEST = BEST_SCALE + LANES
BEST_INVERSE = BEST + LANES
SCALE = BEST_INVERSE + LANES
WORKSPACE = SCALE + LANES


@kernel
def signed_level(value: np.float32, low: np.int32, high: np.int32) -> np.float32:
    """Return the nearest integer as float32, between `low` - MAGIC_BITS and `high` - MAGIC_BITS.

    |value| is at most 33 in this search, so the bits need no mask, as in `rounded_level`.
    """
    bits = f32(value + MAGIC).view(np.int32)
    bits = bits if bits > low else low
    bits = bits if bits < high else high
    return f32(np.int32(bits).view(np.float32) - MAGIC)


@kernel
def search(space: NDArray[np.float32], steps: NDArray[np.float32], half: int, elements: int) -> None:
    """Find BEST_SCALE, and BEST_INVERSE that made its levels, of each of the 64 sub-blocks at VALUE.

    Args:
        space: the workspace with VALUE and IMPORTANCE.
        steps: `inverse_scale_steps(half)`.
        half: half of the number of levels: 4, 8, 16 or 32.
        elements: of a sub-block, 16 or 32.
    """
    measure(space, elements)
    add_levels(space, f32(-half), half, elements)
    for lane in range(LANES):
        sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
        scale = f32(sum_xl / sum_l2)
        scale = ZERO if sum_l2 == ZERO else scale
        space[BEST_SCALE + lane] = scale
        space[BEST + lane] = f32(scale * sum_xl)
        space[BEST_INVERSE + lane] = space[INVERSE + lane]
    for step in steps:
        add_levels(space, step, half, elements)
        keep_better(space)
    for lane in range(LANES):
        scale = space[BEST_SCALE + lane]
        space[BEST_SCALE + lane] = ZERO if space[MAGNITUDE + lane] < EPSILON else scale


@kernel
def measure(space: NDArray[np.float32], elements: int) -> None:
    """Set LARGEST, the weight of largest magnitude, and WEIGHTED."""
    for lane in range(LANES):
        space[LARGEST + lane] = ZERO
        space[MAGNITUDE + lane] = ZERO
    for i in range(elements):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            x = space[VALUE + row + lane]
            largest, magnitude = space[LARGEST + lane], space[MAGNITUDE + lane]
            larger = abs(x) > magnitude
            space[LARGEST + lane] = x if larger else largest
            space[MAGNITUDE + lane] = abs(x) if larger else magnitude
            space[WEIGHTED + row + lane] = f32(space[IMPORTANCE + row + lane] * x)


@kernel
def add_levels(space: NDArray[np.float32], step: np.float32, half: int, elements: int) -> None:
    """Add up the sums of the least squares for the inverse scale `step` / LARGEST. The hot loop."""
    low, high = i32(MAGIC_BITS - half), i32(MAGIC_BITS + half - 1)
    for lane in range(LANES):
        space[INVERSE + lane] = f32(step / space[LARGEST + lane])
        space[SUM_XL + lane] = ZERO
        space[SUM_L2 + lane] = ZERO
    for i in range(0, elements, UNROLL):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            inverse = space[INVERSE + lane]
            sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
            for k in range(UNROLL):
                x = space[VALUE + row + k * LANES + lane]
                w, wx = space[IMPORTANCE + row + k * LANES + lane], space[WEIGHTED + row + k * LANES + lane]
                level = signed_level(f32(inverse * x), low, high)
                sum_xl = f32(sum_xl + f32(wx * level))
                sum_l2 = f32(sum_l2 + f32(f32(w * level) * level))
            space[SUM_XL + lane] = sum_xl
            space[SUM_L2 + lane] = sum_l2


@kernel
def keep_better(space: NDArray[np.float32]) -> None:
    """Keep this scale in the lanes where it explains more. All is loaded before it is selected."""
    for lane in range(LANES):
        sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
        best_scale, best = space[BEST_SCALE + lane], space[BEST + lane]
        inverse, best_inverse = space[INVERSE + lane], space[BEST_INVERSE + lane]
        better = (sum_l2 > ZERO) & (f32(sum_xl * sum_xl) > f32(best * sum_l2))
        scale = f32(sum_xl / sum_l2)
        space[BEST_SCALE + lane] = scale if better else best_scale
        space[BEST + lane] = f32(scale * sum_xl) if better else best
        space[BEST_INVERSE + lane] = inverse if better else best_inverse


@kernel
def best_levels(space: NDArray[np.float32], lane: int, half: int, levels: NDArray[np.uint8]) -> None:
    """Write the levels of one lane that the search ended with, plus `half`; a lane of zeros gets zeros."""
    empty = space[MAGNITUDE + lane] < EPSILON
    for place in range(lane, levels.size, LANES):
        level = nearest_int(f32(space[BEST_INVERSE + lane] * space[VALUE + place]))
        level = i32(min(max(level, i32(-half)), i32(half - 1)) + i32(half))
        levels[place] = u8(0) if empty else u8(level)


@kernel
def stored_levels(space: NDArray[np.float32], half: int, levels: NDArray[np.uint8]) -> None:
    """Write all levels again, plus `half`, for the scales as stored, in SCALE.

    Example: 0.2 / 0.1 → 2 + 32 = 34.
    """
    lowest, highest, add = i32(-half), i32(half - 1), i32(half)
    for i in range(levels.size // LANES):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            level = nearest_int(f32(space[VALUE + row + lane] / space[SCALE + lane]))
            level = level if level > lowest else lowest
            level = level if level < highest else highest
            levels[row + lane] = u8(i32(level + add))


@kernel
def largest_of(scales: NDArray[np.float32]) -> np.float32:
    """Return the first of the 16 scales of largest magnitude. Example: 1, -2, 2, ... → -2.

    Four maximums first, each of four scales: one alone would wait for each of its comparisons.
    """
    a, b, c, d = ZERO, ZERO, ZERO, ZERO
    for j in range(0, 16, 4):
        a = abs(scales[j]) if abs(scales[j]) > a else a
        b = abs(scales[j + 1]) if abs(scales[j + 1]) > b else b
        c = abs(scales[j + 2]) if abs(scales[j + 2]) > c else c
        d = abs(scales[j + 3]) if abs(scales[j + 3]) > d else d
    a, c = b if b > a else a, d if d > c else c
    a = c if c > a else a
    largest = ZERO
    for j in range(15, -1, -1):
        largest = scales[j] if abs(scales[j]) == a else largest
    return largest


def inverse_scale_steps(half: int) -> NDArray[np.float32]:
    """Return the numerators of the inverse scales after the first, -half.

    Example: Q6_K's `inverse_scale_steps(32)` → -31.1, -31.2, … -32.9.
    """
    return np.array([-f32(f32(half) + f32(f32(0.1) * f32(i))) for i in range(-9, 10) if i], np.float32)
