"""The scales of a super-block with an imatrix: `make_qp_quants` and `make_qx_quants` over 8 or 16 numbers.

One super-block at a time, in plain scalar code: there are 16 to 32 weights for each number.

Source: ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.convert.kernels.arithmetic import EPSILON, ONE, ZERO, f32, i32, kernel, nearest_int, u8

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TENTH = f32(0.1)
ROUNDS = 5


@kernel
def positive_scale(
    numbers: NDArray[np.float32], weights: NDArray[np.float32], highest: int, levels: NDArray[np.uint8]
) -> np.float32:
    """Set `levels`, 0...`highest`, and return the scale: `make_qp_quants`.

    It takes the best of nine scales near largest / `highest`, then moves single levels as long as that helps.
    Levels are bytes, as in ggml: a number below zero wraps around.

    Example: 6.3 and 3.15 with `highest` 63 → 63 and 32 (31.5 is rounded to even), and a scale near 0.1.
    """
    largest = ZERO
    for x in numbers:
        largest = largest if largest > x else x
    if largest < EPSILON:
        levels[:] = 0
        return ZERO
    inverse = best_inverse(numbers, weights, largest, highest, levels)
    sum_xl, sum_l2 = ZERO, ZERO
    for i in range(numbers.size):
        level = min(i32(highest), nearest_int(f32(inverse * numbers[i])))
        levels[i] = u8(level & 255)
        w = weights[i]
        sum_xl = f32(sum_xl + f32(f32(w * numbers[i]) * f32(level)))
        sum_l2 = f32(sum_l2 + f32(f32(w * f32(level)) * f32(level)))
    for _ in range(ROUNDS):
        before = sum_l2
        changed, sum_xl, sum_l2 = improve(numbers, weights, highest, levels, (sum_xl, before))
        if not changed:
            break
    return f32(sum_xl / sum_l2) if sum_l2 > ZERO else ZERO


@kernel
def best_inverse(
    numbers: NDArray[np.float32],
    weights: NDArray[np.float32],
    largest: np.float32,
    highest: int,
    levels: NDArray[np.uint8],
) -> np.float32:
    """Return the inverse scale of the smallest weighted square error among nine."""
    best = f32(f32(highest) / largest)
    scale = f32(ONE / best)
    smallest = ZERO
    for i in range(numbers.size):
        levels[i] = u8(nearest_int(f32(best * numbers[i])) & 255)
        difference = f32(numbers[i] - f32(scale * f32(levels[i])))
        smallest = f32(smallest + f32(f32(weights[i] * difference) * difference))
    for step in range(-4, 5):
        if step == 0:
            continue
        inverse = f32(f32(f32(TENTH * f32(step)) + f32(highest)) / largest)
        scale = f32(ONE / inverse)
        error = ZERO
        for i in range(numbers.size):
            level = min(i32(highest), nearest_int(f32(inverse * numbers[i])))
            difference = f32(numbers[i] - f32(scale * f32(level)))
            error = f32(error + f32(f32(weights[i] * difference) * difference))
        if error < smallest:
            smallest = error
            best = inverse
    return best


@kernel
def improve(
    numbers: NDArray[np.float32],
    weights: NDArray[np.float32],
    highest: int,
    levels: NDArray[np.uint8],
    sums: tuple[np.float32, np.float32],
) -> tuple[bool, np.float32, np.float32]:
    """Move each level once if that explains more; return whether one moved, and the sums."""
    sum_xl, sum_l2 = sums
    changed = False
    for i in range(numbers.size):
        x, w = numbers[i], weights[i]
        old = f32(levels[i])
        rest_xl = f32(sum_xl - f32(f32(w * x) * old))
        rest_l2 = f32(sum_l2 - f32(f32(w * old) * old))
        if rest_xl > ZERO and rest_l2 > ZERO:
            level = min(i32(highest), nearest_int(f32(f32(x * rest_l2) / rest_xl)))
            if level != i32(levels[i]):
                new = f32(level)
                rest_xl = f32(rest_xl + f32(f32(w * x) * new))
                rest_l2 = f32(rest_l2 + f32(f32(w * new) * new))
                if f32(f32(rest_xl * rest_xl) * sum_l2) > f32(f32(sum_xl * sum_xl) * rest_l2):
                    levels[i] = u8(level & 255)
                    sum_xl, sum_l2 = rest_xl, rest_l2
                    changed = True
    return changed, sum_xl, sum_l2


@kernel
def six_bits(value: np.float32) -> np.int32:
    """Return the nearest integer in -32...31."""
    level = nearest_int(value)
    return max(i32(-32), min(i32(31), level))


@kernel
def signed_scale(
    numbers: NDArray[np.float32], weights: NDArray[np.float32], levels: NDArray[np.uint8]
) -> np.float32:
    """Set `levels`, 0...63 for -32...31, and return the scale: `make_qx_quants` as Q3_K uses it.

    Example: 3.2 and -1.6 → the largest becomes -32, so levels 0 and 48, and the scale is -0.1.
    """
    largest, magnitude = ZERO, ZERO
    for x in numbers:
        if abs(x) > magnitude:
            magnitude = abs(x)
            largest = x
    if magnitude < EPSILON:
        levels[:] = 0
        return ZERO
    scale, best = ZERO, ZERO
    for number in range(19):
        step = 0 if number == 0 else number - 10 if number < 10 else number - 9
        inverse = f32(f32(-f32(f32(32) + f32(TENTH * f32(step)))) / largest)
        sum_xl, sum_l2 = ZERO, ZERO
        for i in range(numbers.size):
            level = f32(six_bits(f32(inverse * numbers[i])))
            sum_xl = f32(sum_xl + f32(f32(weights[i] * numbers[i]) * level))
            sum_l2 = f32(sum_l2 + f32(f32(weights[i] * level) * level))
        better = sum_l2 > ZERO and f32(sum_xl * sum_xl) > f32(best * sum_l2)
        if number == 0 or better:
            scale = f32(sum_xl / sum_l2) if sum_l2 != ZERO else ZERO
            best = f32(scale * sum_xl)
            for i in range(numbers.size):
                levels[i] = u8(i32(six_bits(f32(inverse * numbers[i])) + i32(32)))
    return scale
