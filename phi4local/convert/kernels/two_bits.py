"""Two-bit levels of Q2_K and Q3_K, packed from a tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import kernel, u8
from phi4local.convert.kernels.tiles import LANES

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 16
WORDS = LANES // 8
TWO_BITS_OF_EACH = np.uint64(0x0303030303030303)


@kernel
def write_two_bits(words: NDArray[np.uint64], block: int, target: NDArray[np.uint8]) -> None:
    """For each half of the weights, byte l of 32 holds weights l, l + 32, l + 64 and l + 96.

    Levels 0, 1, 2 and 3 make 0b11100100. The eight sub-blocks of 128 weights are the bytes of one
    little-endian word: the sub-blocks 32 weights on are 2 bytes on, those 64 weights on are 4.
    """
    for i in range(ELEMENTS):
        for half in range(2):
            word = np.uint64(words[i * WORDS + block * 2 + half] & TWO_BITS_OF_EACH)
            word = np.uint64(word | np.uint64(word >> np.uint64(16 - 2)))
            word = np.uint64(word | np.uint64(word >> np.uint64(32 - 4)))
            target[half * 32 + i] = u8(word)
            target[half * 32 + i + 16] = u8(word >> np.uint64(8))
