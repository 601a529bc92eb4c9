"""Levels of a tile, one byte each, back in the order of the weights, and packed to two bits.

Blocks hold weights that are 32, 64 or 128 apart in one byte. In the order of the weights that is a loop over
32 neighbours, which the compiler makes vectors of; from the lanes of a tile it would be one byte after the
other, which takes twice to three times as long with the turning included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.convert.kernels.arithmetic import kernel, u8
from phi4local.convert.kernels.tiles import LANES, MASK, TILE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Places in the bytes of a tile.
HALF_WAY = TILE
IN_ORDER = HALF_WAY + TILE
SCRATCH = IN_ORDER + TILE
ROOM = SCRATCH + LANES


@kernel
def put_in_order(levels: NDArray[np.uint8], elements: int) -> None:
    """Put the level of weight `i` of sub-block `lane`, at `i * LANES + lane`, to IN_ORDER + its number.

    The opposite of `tiles.transpose`, in the same steps. Example: in sub-blocks of 16 `elements`, place 65
    is element 1 of lane 1 and goes to IN_ORDER + 17.

    Args:
        levels: (ROOM,).
        elements: of a sub-block, 16 or 32.
    """
    if elements == 32:
        _put_in_order_32(levels)
    else:
        _put_in_order_16(levels)


@kernel
def _put_in_order_16(levels: NDArray[np.uint8]) -> None:
    quarter = TILE // 8
    for i in range(4):
        row, part = (i & MASK) * LANES, HALF_WAY + (i & MASK) * quarter
        for lane in range(LANES):
            a, b = levels[row + lane], levels[row + 4 * LANES + lane]
            c, d = levels[row + 8 * LANES + lane], levels[row + 12 * LANES + lane]
            levels[part + 4 * lane], levels[part + 4 * lane + 1] = a, b
            levels[part + 4 * lane + 2], levels[part + 4 * lane + 3] = c, d
    for m in range(quarter):
        a, b = levels[HALF_WAY + m], levels[HALF_WAY + quarter + m]
        c, d = levels[HALF_WAY + 2 * quarter + m], levels[HALF_WAY + 3 * quarter + m]
        levels[IN_ORDER + 4 * m], levels[IN_ORDER + 4 * m + 1] = a, b
        levels[IN_ORDER + 4 * m + 2], levels[IN_ORDER + 4 * m + 3] = c, d


@kernel
def _put_in_order_32(levels: NDArray[np.uint8]) -> None:
    quarter, halves = TILE // 4, 2 * LANES
    for i in range(16):
        row, part = (i & MASK) * LANES, IN_ORDER + (i & MASK) * halves
        for lane in range(LANES):
            first, second = levels[row + lane], levels[row + 16 * LANES + lane]
            levels[part + 2 * lane], levels[part + 2 * lane + 1] = first, second
    for i in range(4):
        row, part = IN_ORDER + (i & MASK) * halves, HALF_WAY + (i & MASK) * quarter
        for half in range(halves):
            a, b = levels[row + half], levels[row + 4 * halves + half]
            c, d = levels[row + 8 * halves + half], levels[row + 12 * halves + half]
            levels[part + 4 * half], levels[part + 4 * half + 1] = a, b
            levels[part + 4 * half + 2], levels[part + 4 * half + 3] = c, d
    for m in range(quarter):
        a, b = levels[HALF_WAY + m], levels[HALF_WAY + quarter + m]
        c, d = levels[HALF_WAY + 2 * quarter + m], levels[HALF_WAY + 3 * quarter + m]
        levels[IN_ORDER + 4 * m], levels[IN_ORDER + 4 * m + 1] = a, b
        levels[IN_ORDER + 4 * m + 2], levels[IN_ORDER + 4 * m + 3] = c, d


@kernel
def write_two_bits(ordered: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    """For each half of 256 weights, byte l of 32 holds weights l, l + 32, l + 64 and l + 96.

    Levels 0, 1, 2 and 3 make 0b11100100.
    """
    for half in range(2):
        weights, place = ordered[half * 128 : half * 128 + 128], target[half * 32 : half * 32 + 32]
        for l in range(32):  # noqa: E741 - ggml's name
            lower = (weights[l] & 3) | u8((weights[l + 32] & 3) << 2)
            place[l] = lower | u8((weights[l + 64] & 3) << 4) | u8((weights[l + 96] & 3) << 6)


@kernel
def write_eight_bits(ordered: NDArray[np.uint8], shift: int, target: NDArray[np.uint8]) -> None:
    """Bit j of byte l of 32 is bit `shift` of weight l + 32 * j, the highest of its level."""
    for l in range(32):  # noqa: E741
        a, b = ordered[l] >> shift, u8((ordered[l + 32] >> shift) << 1)
        c, d = u8((ordered[l + 64] >> shift) << 2), u8((ordered[l + 96] >> shift) << 3)
        e, f = u8((ordered[l + 128] >> shift) << 4), u8((ordered[l + 160] >> shift) << 5)
        g, h = u8((ordered[l + 192] >> shift) << 6), u8((ordered[l + 224] >> shift) << 7)
        target[l] = a | b | c | d | e | f | g | h
