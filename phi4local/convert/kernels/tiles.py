"""Tiles: 64 neighbouring sub-blocks, widened to float32 and turned so that lanes are neighbours.

A sub-block's weights must be summed up in order, which a vector unit cannot do. But 64 sub-blocks can be
summed up side by side, one in each lane. So weight `i` of sub-block `lane` goes to place `i * 64 + lane`.
Everything about one tile lies in one workspace of float32, at offsets known when this is compiled: so LLVM
sees that nothing overlaps. Sixteen lanes share one AVX-512 instruction, eight one of AVX2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import ZERO, f32, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANES = 64
UNROLL = 8
"""Elements between two spills of the sums. At 16 LLVM gives up and emits scalar code, six times slower."""
MASK = 31
"""`i & MASK` is `i`, but LLVM sees that no index made of it is negative; otherwise the code is scalar."""
TILE = 32 * LANES
"""Places of a tile; sub-blocks of 16 weights use the first half."""

# Offsets in the workspace: three tiles, then one number for each lane. Searches add theirs.
VALUE = 0
IMPORTANCE = VALUE + TILE
LEVEL = IMPORTANCE + TILE
SPREAD = LEVEL + TILE
FIRST_FREE = SPREAD + LANES

BF16 = 1
F16 = 2
F32 = 3
TO_HALF_RANGE = f32(2.0**112)


@kernel
def workspace(count: int) -> NDArray[np.float32]:
    """Return `count` zeros that begin at a multiple of 64 bytes, so that no vector crosses a cache line.

    What Python allocates is aligned to 16 bytes only: that makes the search a fifth slower.
    """
    room = np.zeros(count + 16, np.float32)
    first = (-room.ctypes.data // 4) % 16
    return room[first : first + count]


@kernel
def widen(
    source: NDArray[np.uint16], kind: int, first: int, count: int, natural: NDArray[np.float32]
) -> None:
    """Write `count` numbers of `source` from number `first` on to `natural` as float32, zeros behind them.

    bf16 0x3F80 is the upper half of 0x3F800000 = 1.0. f16 0x3C00: its bits without sign, shifted by 13, are
    0x07800000 = 2**-112, and times 2**112 that is 1.0; subnormal halves come out right in the same way.

    Args:
        source: bits of the numbers; a float32 takes two places.
        kind: BF16, F16 or F32.
        first: number of the first one.
        count: how many.
        natural: in the order of the source.
    """
    bits = natural.view(np.uint32)
    if kind == BF16:
        halves = source[first : first + count]
        for i in range(count):
            bits[i] = np.uint32(halves[i]) << np.uint32(16)
    elif kind == F16:
        halves = source[first : first + count]
        for i in range(count):
            half = np.uint32(halves[i])
            bits[i] = np.uint32((half & np.uint32(0x7FFF)) << np.uint32(13))
            natural[i] = f32(natural[i] * TO_HALF_RANGE)
            bits[i] |= np.uint32((half & np.uint32(0x8000)) << np.uint32(16))
    else:
        numbers = source[2 * first : 2 * (first + count)].view(np.float32)
        for i in range(count):
            natural[i] = numbers[i]
    for i in range(count, natural.size):
        natural[i] = ZERO


@kernel
def transpose(natural: NDArray[np.float32], elements: int, tile: NDArray[np.float32]) -> None:
    """Put weight `i` of sub-block `lane` to place `i * LANES + lane`.

    Example: in sub-blocks of 32 `elements`, weight 33 is element 1 of lane 1 and goes to place 65.
    """
    if elements == 32:
        for i in range(32):
            for lane in range(LANES):
                tile[i * LANES + lane] = natural[lane * 32 + i]
    else:
        for i in range(16):
            for lane in range(LANES):
                tile[i * LANES + lane] = natural[lane * 16 + i]
