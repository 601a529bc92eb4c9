"""Blocks of 32 weights with 4-bit levels, packed from a tile: IQ4_NL, IQ4_XS and the oldest types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import kernel, u8
from phi4local.convert.kernels.tiles import LANES

if TYPE_CHECKING:
    from numpy.typing import NDArray

HALF = 16 * LANES


@kernel
def write_nibbles(levels: NDArray[np.uint8], lane: int, target: NDArray[np.uint8]) -> None:
    """Byte i of 16 holds weights i and i + 16 of the lane: levels 5 and 12 make 0xC5."""
    for i in range(16):
        place = i * LANES + lane
        target[i] = (levels[place] & 15) | u8(levels[place + HALF] << 4)


@kernel
def write_fifth_bits(levels: NDArray[np.uint8], lane: int, target: NDArray[np.uint8]) -> None:
    """Bit i of four little-endian bytes is the fifth bit of weight i of the lane."""
    bits = np.uint32(0)
    for i in range(32):
        bits |= np.uint32(np.uint32(levels[i * LANES + lane] >> 4) << np.uint32(i))
    for j in range(4):
        target[j] = u8(bits >> np.uint32(8 * j))
