"""The search of types with a scale and a minimum for each sub-block: `make_qkx2_quants`, `make_qkx3_quants`.

Q2_K, Q4_K, Q5_K, and with an imatrix Q4_1 and Q5_1. A weight is stored as scale * level + minimum. The search
tries 16 to 37 inverse scales; for each it takes the levels, then the least-squares scale and minimum for
them, and keeps the best.

Worked sub-block (four weights instead of 32, importance 1, levels 0...3): x = -1, 0, 1, 2. The minimum is
-1, the inverse scale 3 / (2 - -1) = 1, the levels are 0, 1, 2, 3 and the error is 0.

Source: ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import (
    MAGIC_BITS,
    ONE,
    ZERO,
    f32,
    i32,
    kernel,
    nearest_int,
    rounded_level,
    u8,
)
from phi4local.convert.kernels.tiles import (
    FIRST_FREE,
    IMPORTANCE,
    LANES,
    LEVEL,
    MASK,
    UNROLL,
    VALUE,
    any_is_zero,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# One number for each lane.
SUM_W = FIRST_FREE
SUM_WX = SUM_W + LANES
MINIMUM = SUM_WX + LANES
FIRST_MINIMUM = MINIMUM + LANES
MAXIMUM = FIRST_MINIMUM + LANES
BEST_ERROR = MAXIMUM + LANES
BEST_SCALE = BEST_ERROR + LANES
BEST_INVERSE = BEST_SCALE + LANES
BEST_LEVELS_MINIMUM = BEST_INVERSE + LANES
INVERSE = BEST_LEVELS_MINIMUM + LANES
SUM_L = INVERSE + LANES
SUM_L2 = SUM_L + LANES
SUM_XL = SUM_L2 + LANES
DETERMINANT = SUM_XL + LANES
SCALE = DETERMINANT + LANES
OFFSET = SCALE + LANES
ERROR = OFFSET + LANES
WORKSPACE = ERROR + LANES

NO_LEVEL = i32(0)


@kernel
def search(
    space: NDArray[np.float32],
    steps: NDArray[np.float32],
    levels: int,
    elements: int,
    absolute: bool,
) -> None:
    """Find scale and minimum of each of the 64 sub-blocks at VALUE.

    Args:
        space: the workspace with VALUE and IMPORTANCE; BEST_SCALE, MINIMUM, BEST_INVERSE and
            BEST_LEVELS_MINIMUM are the results.
        steps: numerators of the inverse scales to try, near `levels`.
        levels: the highest level, 3, 15 or 31.
        elements: of a sub-block, 16 or 32.
        absolute: measure errors by magnitude instead of square; Q2_K without an imatrix does.
    """
    top = i32(MAGIC_BITS + levels)
    measure(space, elements)
    begin(space, f32(levels))
    add_levels(space, top, elements)
    add_error(space, elements, absolute)
    for lane in range(LANES):
        space[BEST_ERROR + lane] = space[ERROR + lane]
    for step in steps:
        for lane in range(LANES):
            space[INVERSE + lane] = f32(step / f32(space[MAXIMUM + lane] - space[MINIMUM + lane]))
        add_levels(space, top, elements)
        solve(space)
        add_error(space, elements, absolute)
        keep_better(space)
    for lane in range(LANES):
        first, minimum = space[FIRST_MINIMUM + lane], space[MINIMUM + lane]
        scale, inverse = space[BEST_SCALE + lane], space[BEST_INVERSE + lane]
        flat = space[MAXIMUM + lane] == first
        space[BEST_SCALE + lane] = ZERO if flat else scale
        space[MINIMUM + lane] = first if flat else minimum
        space[BEST_INVERSE + lane] = ZERO if flat else inverse


@kernel
def measure(space: NDArray[np.float32], elements: int) -> None:
    """Set MINIMUM, MAXIMUM and the sums of IMPORTANCE; ggml begins the sums with the first element."""
    for lane in range(LANES):
        x, w = space[VALUE + lane], space[IMPORTANCE + lane]
        space[MINIMUM + lane] = x
        space[MAXIMUM + lane] = x
        space[SUM_W + lane] = w
        space[SUM_WX + lane] = f32(w * x)
    for i in range(1, elements):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            x, w = space[VALUE + row + lane], space[IMPORTANCE + row + lane]
            low, high = space[MINIMUM + lane], space[MAXIMUM + lane]
            space[MINIMUM + lane] = x if x < low else low
            space[MAXIMUM + lane] = x if x > high else high
            space[SUM_W + lane] = f32(space[SUM_W + lane] + w)
            space[SUM_WX + lane] = f32(space[SUM_WX + lane] + f32(w * x))


@kernel
def begin(space: NDArray[np.float32], levels: np.float32) -> None:
    """Take the scale that spreads the levels over the whole range as the best one so far."""
    for lane in range(LANES):
        minimum = space[MINIMUM + lane]
        minimum = ZERO if minimum > ZERO else minimum
        inverse = f32(levels / f32(space[MAXIMUM + lane] - minimum))
        scale = f32(ONE / inverse)
        space[MINIMUM + lane] = minimum
        space[FIRST_MINIMUM + lane] = minimum
        space[BEST_LEVELS_MINIMUM + lane] = minimum
        space[OFFSET + lane] = minimum
        space[INVERSE + lane] = inverse
        space[BEST_INVERSE + lane] = inverse
        space[BEST_SCALE + lane] = scale
        space[SCALE + lane] = scale


@kernel
def add_levels(space: NDArray[np.float32], top: np.int32, elements: int) -> None:
    """Set LEVEL for the scale at hand, and add up its sums for the least squares. The hot loop."""
    for lane in range(LANES):
        space[SUM_L + lane] = ZERO
        space[SUM_L2 + lane] = ZERO
        space[SUM_XL + lane] = ZERO
    for i in range(0, elements, UNROLL):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            minimum = space[MINIMUM + lane]
            inverse = space[INVERSE + lane]
            sum_l = space[SUM_L + lane]
            sum_l2 = space[SUM_L2 + lane]
            sum_xl = space[SUM_XL + lane]
            for k in range(UNROLL):
                x = space[VALUE + row + k * LANES + lane]
                w = space[IMPORTANCE + row + k * LANES + lane]
                level = rounded_level(f32(inverse * f32(x - minimum)), top)
                space[LEVEL + row + k * LANES + lane] = level
                weighted = f32(w * level)
                sum_l = f32(sum_l + weighted)
                sum_l2 = f32(sum_l2 + f32(weighted * level))
                sum_xl = f32(sum_xl + f32(weighted * x))
            space[SUM_L + lane] = sum_l
            space[SUM_L2 + lane] = sum_l2
            space[SUM_XL + lane] = sum_xl


@kernel
def solve(space: NDArray[np.float32]) -> None:
    """Set SCALE and OFFSET, the least squares for these levels; a minimum above zero becomes zero."""
    for lane in range(LANES):
        sum_l, sum_l2, sum_xl = space[SUM_L + lane], space[SUM_L2 + lane], space[SUM_XL + lane]
        sum_w, sum_wx = space[SUM_W + lane], space[SUM_WX + lane]
        determinant = f32(f32(sum_w * sum_l2) - f32(sum_l * sum_l))
        scale = f32(f32(f32(sum_w * sum_xl) - f32(sum_wx * sum_l)) / determinant)
        offset = f32(f32(f32(sum_l2 * sum_wx) - f32(sum_l * sum_xl)) / determinant)
        without = f32(sum_xl / sum_l2)
        space[SCALE + lane] = without if offset > ZERO else scale
        space[OFFSET + lane] = ZERO if offset > ZERO else offset
        space[DETERMINANT + lane] = determinant


@kernel
def add_error(space: NDArray[np.float32], elements: int, absolute: bool) -> None:
    """Set ERROR of SCALE and OFFSET with these levels: the sum of w * difference**2, or w * |difference|."""
    for lane in range(LANES):
        space[ERROR + lane] = ZERO
    for i in range(0, elements, UNROLL):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            scale = space[SCALE + lane]
            offset = space[OFFSET + lane]
            error = space[ERROR + lane]
            for k in range(UNROLL):
                x = space[VALUE + row + k * LANES + lane]
                w = space[IMPORTANCE + row + k * LANES + lane]
                level = space[LEVEL + row + k * LANES + lane]
                difference = f32(f32(f32(scale * level) + offset) - x)
                size = abs(difference) if absolute else f32(difference * difference)
                error = f32(error + f32(w * size))
            space[ERROR + lane] = error


@kernel
def keep_better(space: NDArray[np.float32]) -> None:
    """Keep this scale in the lanes where it is better. Everything is loaded first: a load inside a
    conditional expression would be a branch, and the loop scalar.
    """  # noqa: D205
    for lane in range(LANES):
        error, best_error = space[ERROR + lane], space[BEST_ERROR + lane]
        minimum, offset = space[MINIMUM + lane], space[OFFSET + lane]
        scale, best_scale = space[SCALE + lane], space[BEST_SCALE + lane]
        inverse, best_inverse = space[INVERSE + lane], space[BEST_INVERSE + lane]
        levels_minimum = space[BEST_LEVELS_MINIMUM + lane]
        better = (space[DETERMINANT + lane] > ZERO) & (error < best_error)
        space[BEST_ERROR + lane] = error if better else best_error
        space[BEST_SCALE + lane] = scale if better else best_scale
        space[BEST_INVERSE + lane] = inverse if better else best_inverse
        space[BEST_LEVELS_MINIMUM + lane] = minimum if better else levels_minimum
        space[MINIMUM + lane] = offset if better else minimum


@kernel
def best_levels(space: NDArray[np.float32], lane: int, highest: np.int32, levels: NDArray[np.uint8]) -> None:
    """Write the levels of one lane that the search ended with, to places `i * LANES + lane` of `levels`."""
    inverse, minimum = space[BEST_INVERSE + lane], space[BEST_LEVELS_MINIMUM + lane]
    for place in range(lane, levels.size, LANES):
        level = nearest_int(f32(inverse * f32(space[VALUE + place] - minimum)))
        level = min(max(level, NO_LEVEL), highest)
        levels[place] = u8(NO_LEVEL if inverse == ZERO else level)


@kernel
def stored_levels(space: NDArray[np.float32], highest: np.int32, levels: NDArray[np.uint8]) -> None:
    """Write all levels again, now for the scales as they are stored, in SCALE and OFFSET.

    Example: (x + 0.5) / 0.1 → level 7 for x = 0.2. A sub-block whose stored scale is zero keeps the levels
    that the search ended with.
    """
    for i in range(levels.size // LANES):
        row = (i & MASK) * LANES
        for lane in range(LANES):
            x = space[VALUE + row + lane]
            level = nearest_int(f32(f32(x + space[OFFSET + lane]) / space[SCALE + lane]))
            level = level if level > NO_LEVEL else NO_LEVEL
            level = level if level < highest else highest
            levels[row + lane] = u8(level)
    if any_is_zero(space, SCALE):
        for lane in range(LANES):
            if space[SCALE + lane] == ZERO:
                best_levels(space, lane, highest, levels)


def inverse_scale_steps(levels: int, first: float, step: float, count: int) -> NDArray[np.float32]:
    """Return the numerators that ggml tries: `first + step * i + levels`, each operation in float32.

    Example: Q4_K's `inverse_scale_steps(15, -1.0, 0.1, 21)` → 14.0, 14.1, … 16.0.
    """
    return np.array(
        [f32(f32(f32(first) + f32(f32(step) * f32(i))) + f32(levels)) for i in range(count)], np.float32
    )
