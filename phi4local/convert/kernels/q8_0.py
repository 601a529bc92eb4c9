"""Q8_0: blocks of 32 weights, a half float d and 32 signed bytes. No search: d = largest magnitude / 127.

Worked block: x = 127, -63.5, 0 ... 0. d = 127 / 127 = 1, 1/d = 1, and the bytes are 127, -64 (C's `roundf`
takes ties away from zero), 0 ... 0.

A block's largest magnitude does not depend on the order, so the 32 weights of a block are taken side by side.
The loops are as plain as they look; LLVM makes vectors of them.

Source: `quantize_row_q8_0_ref` in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import ONE, ZERO, entry, f32, half_bits, i32, kernel, u8
from phi4local.convert.kernels.tiles import LANES, widen, workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 32
BLOCK_BYTES = 34
BLOCKS = LANES
HALF = f32(0.5)
LEVELS = f32(127)
MAGNITUDE = i32(0x7FFFFFFF)


@kernel
def measure(block: NDArray[np.float32]) -> np.float32:
    """Return the largest magnitude. Without their sign, the bits of finite numbers grow with the numbers."""
    bits = block.view(np.int32)
    largest = i32(0)
    for i in range(ELEMENTS):
        magnitude = i32(bits[i] & MAGNITUDE)
        largest = magnitude if magnitude > largest else largest
    return np.int32(largest).view(np.float32)


@kernel
def add_levels(block: NDArray[np.float32], inverse: np.float32, target: NDArray[np.uint8]) -> None:
    """Write `roundf(inverse * x)`: cut towards zero, and one more where half or more was cut off.

    2.5 is cut to 2, the rest 0.5 is a half, so 3; -2.5 → -3; 0.49999997 → 0, where adding 0.5 would give 1.
    Where the inverse of a denormal scale is infinite, the processor's conversion gives byte 0, here and in C.
    """
    for i in range(ELEMENTS):
        scaled = f32(inverse * block[i])
        whole = i32(scaled)
        rest = f32(scaled - f32(whole))
        up = i32(1) if (rest >= HALF) & (rest < ONE) else i32(0)
        down = i32(1) if (rest <= -HALF) & (rest > -ONE) else i32(0)
        target[i] = u8(i32(i32(whole + up) - down))


@entry
def quantize(source: NDArray[np.uint16], kind: int, target: NDArray[np.uint8]) -> None:
    """Store whole blocks.

    Args:
        source: bits of the numbers of whole blocks.
        kind: BF16, F16 or F32.
        target: (blocks * 34,).
    """
    natural = workspace(BLOCKS * ELEMENTS)
    blocks = target.size // BLOCK_BYTES
    for first in range(0, blocks, BLOCKS):
        last = min(first + BLOCKS, blocks)
        widen(source, kind, first * ELEMENTS, (last - first) * ELEMENTS, natural)
        for block in range(last - first):
            values = natural[block * ELEMENTS : (block + 1) * ELEMENTS]
            scale = f32(measure(values) / LEVELS)
            inverse = f32(ONE / scale) if scale != ZERO else ZERO
            place = target[(first + block) * BLOCK_BYTES : (first + block + 1) * BLOCK_BYTES]
            d = half_bits(scale)
            place[0], place[1] = u8(d & 255), u8(d >> 8)
            add_levels(values, inverse, place[2:])
