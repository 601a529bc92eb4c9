"""Tiles: 2,048 or 1,024 neighbouring weights, widened to float32 and turned so that lanes are neighbours.

A sub-block's weights must be summed up in order, which a vector unit cannot do. But 64 sub-blocks can be
summed up side by side, one in each lane. So weight `i` of sub-block `lane` goes to place `i * 64 + lane`.
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
def widen(source: NDArray[np.uint16], kind: int, natural: NDArray[np.float32]) -> None:
    """Write `source`, bits of half floats or float32 numbers, to `natural` as float32, zeros behind it.

    bf16 0x3F80 is the upper half of 0x3F800000 = 1.0. f16 0x3C00: its bits without sign, shifted by 13, are
    0x07800000 = 2**-112, and times 2**112 that is 1.0; subnormal halves come out right in the same way.
    """
    count = source.size
    bits = natural.view(np.uint32)
    if kind == BF16:
        for i in range(count):
            bits[i] = np.uint32(source[i]) << np.uint32(16)
    elif kind == F16:
        for i in range(count):
            half = np.uint32(source[i])
            bits[i] = np.uint32((half & np.uint32(0x7FFF)) << np.uint32(13))
            natural[i] = f32(natural[i] * TO_HALF_RANGE)
            bits[i] |= np.uint32((half & np.uint32(0x8000)) << np.uint32(16))
    else:
        for i in range(count):
            natural[i] = f32(source[i])
    for i in range(count, natural.size):
        natural[i] = ZERO
