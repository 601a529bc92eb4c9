"""The search of Q3_K without an imatrix: ggml's `make_q3_quants`.

Levels move one after the other, and each move changes the sums that the next one sees. So 64 sub-blocks go
through their first weights, then through their second ones, in the lanes of a tile. ggml ends a sub-block's
rounds when none of its levels moved, and most end with their first: a sub-block whose largest weight is
positive has a sum below zero, with which nothing moves, and so do three of five others. Only every fifth goes
on. Those of four tiles are gathered in one more, which ends with its last sub-block.

Worked sub-block (two weights): x = -4, 2.45, importance x * x. The inverse scale is -4 / -4 = 1, the levels
are -4 and 2. The second weight alone has the sums 6 * 2.45 * 2 = 29.4 and 6 * 2**2 = 24, a scale of 1.225,
for which -4 is level -3. With that the sums are 221.4 and 168, and 221.4**2 / 168 = 291.8 is more than the
285.4**2 / 280 = 290.9 before: the level moves.

Source: ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import symmetric_search as place
from phi4local.convert.kernels.arithmetic import (
    EPSILON,
    EXPONENT,
    MAGIC,
    MAGIC_BITS,
    MANTISSA,
    ONE,
    ZERO,
    f32,
    i32,
    kernel,
    u8,
)
from phi4local.convert.kernels.symmetric_search import signed_level
from phi4local.convert.kernels.tiles import LANES, LEVEL, UNROLL, VALUE

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 16
LAST_LANE = LANES - 1
"""A mask that says that a lane is not negative, as `tiles.MASK` does."""
ROUNDS = 5
HALF = i32(4)
FOUR = f32(4)
LOW, HIGH = i32(MAGIC_BITS - 4), i32(MAGIC_BITS + 3)
TOGETHER = 4
"""Tiles that share one for the sub-blocks that go on: 49 of 256 normal ones, rarely more than its 64."""

LARGEST, MAGNITUDE, INVERSE = place.LARGEST, place.MAGNITUDE, place.INVERSE
SUM_XL, SUM_L2, BEST_SCALE = place.SUM_XL, place.SUM_L2, place.BEST_SCALE
MOVED = place.WORKSPACE
OWNER = MOVED + LANES
"""Lanes that moved; in the tile of those that go on, where they are from, counted through the four tiles."""
WORKSPACE = OWNER + LANES
NEVER = f32(-np.inf)


@kernel
def search(spaces: NDArray[np.float32], tile: int, waiting: int) -> int:
    """Find LEVEL, -4...3, of the sub-blocks of 16 weights in one tile, but for those that go on.

    Args:
        spaces: TOGETHER workspaces with VALUE, and one more for the sub-blocks that go on.
        tile: number of the tile.
        waiting: how many already wait in that one more.

    Returns:
        How many wait now. `finish` is for them, and then `solve` for each tile.
    """
    space = spaces[tile * WORKSPACE : (tile + 1) * WORKSPACE]
    rest = spaces[TOGETHER * WORKSPACE :]
    measure(space)
    begin(space)
    move_levels(space)
    moved = list_moved(space)
    if waiting + moved > LANES:
        finish(spaces, waiting)
        waiting = 0
    for number in range(moved):
        lane = i32(space[OWNER + number])
        copy_weights(space, lane, rest, waiting + number)
        copy_levels(space, lane, rest, waiting + number)
        rest[OWNER + waiting + number] = f32(tile * LANES + lane)
    return waiting + moved


@kernel
def list_moved(space: NDArray[np.float32]) -> int:
    """Set OWNER to the lanes that moved, and return how many did. No branch: it would be a guess."""
    moved = 0
    for lane in range(LANES):
        space[OWNER + (moved & LAST_LANE)] = f32(lane)
        moved += 1 if space[MOVED + lane] > ZERO else 0
    return moved


@kernel
def copy_weights(
    source: NDArray[np.float32], source_lane: int, target: NDArray[np.float32], target_lane: int
) -> None:
    """Copy the weights of one lane."""
    there, here = source_lane & LAST_LANE, target_lane & LAST_LANE
    for i in range(ELEMENTS):
        target[VALUE + i * LANES + here] = source[VALUE + i * LANES + there]


@kernel
def copy_levels(
    source: NDArray[np.float32], source_lane: int, target: NDArray[np.float32], target_lane: int
) -> None:
    """Copy the levels and sums of one lane."""
    there, here = source_lane & LAST_LANE, target_lane & LAST_LANE
    for i in range(ELEMENTS):
        target[LEVEL + i * LANES + here] = source[LEVEL + i * LANES + there]
    target[SUM_XL + here] = source[SUM_XL + there]
    target[SUM_L2 + here] = source[SUM_L2 + there]


@kernel
def finish(spaces: NDArray[np.float32], waiting: int) -> None:
    """Go on with the sub-blocks that wait until nothing moves, and copy their levels to their owners."""
    if waiting == 0:
        return
    rest = spaces[TOGETHER * WORKSPACE :]
    for lane in range(waiting, LANES):
        rest[SUM_XL + lane] = NEVER  # moves
    for _ in range(ROUNDS - 1):
        if not move_levels(rest):
            break
    for lane in range(waiting):
        owner = i32(rest[OWNER + lane])
        first = owner // LANES * WORKSPACE
        copy_levels(rest, lane, spaces[first : first + WORKSPACE], owner % LANES)


@kernel
def solve(space: NDArray[np.float32]) -> None:
    """Set BEST_SCALE, the least squares for the levels."""
    for lane in range(LANES):
        sum_xl, sum_l2, magnitude = space[SUM_XL + lane], space[SUM_L2 + lane], space[MAGNITUDE + lane]
        scale = f32(sum_xl / sum_l2)
        scale = scale if sum_l2 > ZERO else ZERO
        space[BEST_SCALE + lane] = ZERO if magnitude < EPSILON else scale


@kernel
def measure(space: NDArray[np.float32]) -> None:
    """Set LARGEST, the weight of largest magnitude, and MAGNITUDE."""
    for lane in range(LANES):
        space[LARGEST + lane] = ZERO
        space[MAGNITUDE + lane] = ZERO
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            largest, magnitude = space[LARGEST + lane], space[MAGNITUDE + lane]
            for k in range(UNROLL):
                x = space[VALUE + (i + k) * LANES + lane]
                larger = abs(x) > magnitude
                largest = x if larger else largest
                magnitude = abs(x) if larger else magnitude
            space[LARGEST + lane] = largest
            space[MAGNITUDE + lane] = magnitude


@kernel
def begin(space: NDArray[np.float32]) -> None:
    """Set the first levels with their sums; the importance of each weight is x * x."""
    for lane in range(LANES):
        space[INVERSE + lane] = f32(-FOUR / space[LARGEST + lane])
        space[SUM_XL + lane] = ZERO
        space[SUM_L2 + lane] = ZERO
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            inverse, sum_xl, sum_l2 = space[INVERSE + lane], space[SUM_XL + lane], space[SUM_L2 + lane]
            for k in range(UNROLL):
                x = space[VALUE + (i + k) * LANES + lane]
                w = f32(x * x)
                wx = f32(w * x)
                level = signed_level(f32(inverse * x), LOW, HIGH)
                space[LEVEL + (i + k) * LANES + lane] = level
                sum_xl = f32(sum_xl + f32(wx * level))
                sum_l2 = f32(sum_l2 + f32(f32(w * level) * level))
            space[SUM_XL + lane] = sum_xl
            space[SUM_L2 + lane] = sum_l2


@kernel
def move_levels(space: NDArray[np.float32]) -> bool:
    """Move each level once, where that explains more; return whether one moved. The hot loop.

    The sums without the level at hand give a scale, and this the best level. It may be any number there, so
    its bits are masked as in `nearest_int`.
    """
    for lane in range(LANES):
        space[MOVED + lane] = ZERO
    for i in range(ELEMENTS):
        for lane in range(LANES):
            x, old = space[VALUE + i * LANES + lane], space[LEVEL + i * LANES + lane]
            sum_xl, sum_l2, moved = space[SUM_XL + lane], space[SUM_L2 + lane], space[MOVED + lane]
            w = f32(x * x)
            wx = f32(w * x)
            rest_xl = f32(sum_xl - f32(wx * old))
            rest_l2 = f32(sum_l2 - f32(f32(w * old) * old))
            bits = f32(f32(f32(x * rest_l2) / rest_xl) + MAGIC).view(np.int32)
            bits = i32(i32(bits & MANTISSA) | EXPONENT)
            bits = bits if bits > LOW else LOW
            bits = bits if bits < HIGH else HIGH
            new = f32(np.int32(bits).view(np.float32) - MAGIC)
            new_xl = f32(rest_xl + f32(wx * new))
            new_l2 = f32(rest_l2 + f32(f32(w * new) * new))
            more = f32(f32(new_xl * new_xl) * sum_l2) > f32(f32(sum_xl * sum_xl) * new_l2)
            moves = (rest_xl > ZERO) & (new != old) & (new_l2 > ZERO) & more
            space[LEVEL + i * LANES + lane] = new if moves else old
            space[SUM_XL + lane] = new_xl if moves else sum_xl
            space[SUM_L2 + lane] = new_l2 if moves else sum_l2
            space[MOVED + lane] = ONE if moves else moved
    largest = ZERO
    for lane in range(LANES):
        moved = space[MOVED + lane]
        largest = moved if moved > largest else largest
    return bool(largest > ZERO)


@kernel
def best_levels(space: NDArray[np.float32], lane: int, levels: NDArray[np.uint8]) -> None:
    """Write the levels of one lane that the search ended with, plus 4; a lane of zeros gets zeros."""
    empty = space[MAGNITUDE + lane] < EPSILON
    for index in range(lane, levels.size, LANES):
        levels[index] = u8(0) if empty else u8(i32(space[LEVEL + index]) + HALF)
