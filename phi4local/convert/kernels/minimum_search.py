"""The search of types with a scale and a minimum for each sub-block: ggml's `make_qkx2_quants`.

64 sub-blocks of 32 weights lie side by side in one workspace of float32, at offsets known when this is
compiled: so LLVM sees that nothing overlaps. Sixteen lanes share one AVX-512 instruction, eight one of AVX2.

A weight is stored as scale * level + minimum. The search tries 21 inverse scales for Q4_K, 16 for Q5_K; for
each it takes the levels, then the least-squares scale and minimum for them, and keeps the best.

Worked sub-block (four weights instead of 32, importance 1, levels 0...3): x = -1, 0, 1, 2. The minimum is
-1, the inverse scale 3 / (2 - -1) = 1, the levels are 0, 1, 2, 3 and the error is 0.

Source: ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import ONE, ZERO, f32, kernel, rounded_level
from phi4local.convert.kernels.tiles import LANES, UNROLL

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 32
TILE = ELEMENTS * LANES

# Offsets in the workspace: three tiles, then one number for each lane.
VALUE = 0
IMPORTANCE = VALUE + TILE
LEVEL = IMPORTANCE + TILE
SUM_W = LEVEL + TILE
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
ROOT_MEAN_SQUARE = ERROR + LANES
WORKSPACE = ROOT_MEAN_SQUARE + LANES

COUNT = f32(ELEMENTS)


@kernel
def search(space: NDArray[np.float32], steps: NDArray[np.float32], levels: np.float32, top: np.int32) -> None:
    """Find scale and minimum of each of the 64 sub-blocks at VALUE.

    Args:
        space: the workspace; BEST_SCALE, MINIMUM, BEST_INVERSE and BEST_LEVELS_MINIMUM are the results.
        steps: numerators of the inverse scales to try, near `levels`.
        levels: the highest level, 15 or 31.
        top: MAGIC_BITS + the highest level.
    """
    measure(space)
    weigh(space)
    begin(space, levels)
    add_first_error(space, top)
    for step in steps:
        for lane in range(LANES):
            space[INVERSE + lane] = f32(step / f32(space[MAXIMUM + lane] - space[MINIMUM + lane]))
            space[SUM_L + lane] = ZERO
            space[SUM_L2 + lane] = ZERO
            space[SUM_XL + lane] = ZERO
        add_levels(space, top)
        solve(space)
        add_error(space)
        keep_better(space)
    for lane in range(LANES):
        first = space[FIRST_MINIMUM + lane]
        flat = space[MAXIMUM + lane] == first
        scale, minimum, inverse = (
            space[BEST_SCALE + lane],
            space[MINIMUM + lane],
            space[BEST_INVERSE + lane],
        )
        space[BEST_SCALE + lane] = ZERO if flat else scale
        space[MINIMUM + lane] = first if flat else minimum
        space[BEST_INVERSE + lane] = ZERO if flat else inverse


@kernel
def measure(space: NDArray[np.float32]) -> None:
    """Set MINIMUM, MAXIMUM and ROOT_MEAN_SQUARE of each lane."""
    for lane in range(LANES):
        space[ROOT_MEAN_SQUARE + lane] = ZERO
        space[MINIMUM + lane] = space[VALUE + lane]
        space[MAXIMUM + lane] = space[VALUE + lane]
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            squares = space[ROOT_MEAN_SQUARE + lane]
            low = space[MINIMUM + lane]
            high = space[MAXIMUM + lane]
            for k in range(UNROLL):
                x = space[VALUE + (i + k) * LANES + lane]
                squares = f32(squares + f32(x * x))
                low = x if x < low else low
                high = x if x > high else high
            space[ROOT_MEAN_SQUARE + lane] = squares
            space[MINIMUM + lane] = low
            space[MAXIMUM + lane] = high
    for lane in range(LANES):
        space[ROOT_MEAN_SQUARE + lane] = np.sqrt(f32(space[ROOT_MEAN_SQUARE + lane] / COUNT))


@kernel
def weigh(space: NDArray[np.float32]) -> None:
    """Set IMPORTANCE = root mean square + |x|, and its sums. ggml begins the sums with the first element."""
    for lane in range(LANES):
        x = space[VALUE + lane]
        w = f32(space[ROOT_MEAN_SQUARE + lane] + abs(x))
        space[IMPORTANCE + lane] = w
        space[SUM_W + lane] = w
        space[SUM_WX + lane] = f32(w * x)
    for i in range(1, ELEMENTS):
        for lane in range(LANES):
            x = space[VALUE + i * LANES + lane]
            w = f32(space[ROOT_MEAN_SQUARE + lane] + abs(x))
            space[IMPORTANCE + i * LANES + lane] = w
            space[SUM_W + lane] = f32(space[SUM_W + lane] + w)
            space[SUM_WX + lane] = f32(space[SUM_WX + lane] + f32(w * x))


@kernel
def begin(space: NDArray[np.float32], levels: np.float32) -> None:
    """Take the scale that spreads the levels over the whole range as the best one so far."""
    for lane in range(LANES):
        minimum = space[MINIMUM + lane]
        minimum = ZERO if minimum > ZERO else minimum
        space[MINIMUM + lane] = minimum
        space[FIRST_MINIMUM + lane] = minimum
        inverse = f32(levels / f32(space[MAXIMUM + lane] - minimum))
        space[INVERSE + lane] = inverse
        space[BEST_INVERSE + lane] = inverse
        space[BEST_LEVELS_MINIMUM + lane] = minimum
        space[BEST_SCALE + lane] = f32(ONE / inverse)
        space[BEST_ERROR + lane] = ZERO


@kernel
def add_first_error(space: NDArray[np.float32], top: np.int32) -> None:
    """Add up BEST_ERROR of the first scale."""
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            minimum = space[MINIMUM + lane]
            inverse = space[INVERSE + lane]
            scale = space[BEST_SCALE + lane]
            error = space[BEST_ERROR + lane]
            for k in range(UNROLL):
                x = space[VALUE + (i + k) * LANES + lane]
                w = space[IMPORTANCE + (i + k) * LANES + lane]
                level = rounded_level(f32(inverse * f32(x - minimum)), top)
                difference = f32(f32(f32(scale * level) + minimum) - x)
                error = f32(error + f32(w * f32(difference * difference)))
            space[BEST_ERROR + lane] = error


@kernel
def add_levels(space: NDArray[np.float32], top: np.int32) -> None:
    """Set LEVEL for the scale at hand, and add up its sums for the least squares. The hot loop."""
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            minimum = space[MINIMUM + lane]
            inverse = space[INVERSE + lane]
            sum_l = space[SUM_L + lane]
            sum_l2 = space[SUM_L2 + lane]
            sum_xl = space[SUM_XL + lane]
            for k in range(UNROLL):
                x = space[VALUE + (i + k) * LANES + lane]
                w = space[IMPORTANCE + (i + k) * LANES + lane]
                level = rounded_level(f32(inverse * f32(x - minimum)), top)
                space[LEVEL + (i + k) * LANES + lane] = level
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
        space[ERROR + lane] = ZERO


@kernel
def add_error(space: NDArray[np.float32]) -> None:
    """Add up ERROR of SCALE and OFFSET with these levels."""
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            scale = space[SCALE + lane]
            offset = space[OFFSET + lane]
            error = space[ERROR + lane]
            for k in range(UNROLL):
                x = space[VALUE + (i + k) * LANES + lane]
                w = space[IMPORTANCE + (i + k) * LANES + lane]
                level = space[LEVEL + (i + k) * LANES + lane]
                difference = f32(f32(f32(scale * level) + offset) - x)
                error = f32(error + f32(w * f32(difference * difference)))
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


def inverse_scale_steps(levels: int, first: float, step: float, count: int) -> NDArray[np.float32]:
    """Return the numerators that ggml tries: `first + step * i + levels`, each operation in float32.

    Example: Q4_K's `inverse_scale_steps(15, -1.0, 0.1, 21)` → 14.0, 14.1, … 16.0.
    """
    return np.array(
        [f32(f32(f32(first) + f32(f32(step) * f32(i))) + f32(levels)) for i in range(count)], np.float32
    )
