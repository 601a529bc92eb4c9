"""Q4_K and Q5_K: super-blocks of 256 weights, eight sub-blocks with a 6-bit scale and a 6-bit minimum each.

Both types are one compiled function: they differ in the levels (15 or 31), the scales tried and 32 bytes of
fifth bits. A block is: half float d, half float dmin, 12 bytes of scales and minimums, [32 bytes of fifth
bits,] 128 bytes of low four bits. A weight is d * scale * level - dmin * minimum.

Worked block: 256 weights that are all 1.0. Each sub-block is flat above zero, so its minimum becomes 0, the
scale 1/15 with levels 15. d = 1/15 / 63, all scales are 63, dmin and all minimums 0, and all quants are 0xFF.

Source: `quantize_row_q4_K_ref`, `quantize_row_q5_K_ref` in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels import minimum_search as place
from phi4local.convert.kernels.arithmetic import (
    MAGIC_BITS,
    ZERO,
    f32,
    half_bits,
    half_value,
    i32,
    kernel,
    nearest_int,
    u8,
)
from phi4local.convert.kernels.minimum_search import inverse_scale_steps, search
from phi4local.convert.kernels.tiles import LANES, widen, workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUPER_BLOCKS = LANES // 8
ELEMENTS = place.ELEMENTS
VALUE, SCALE, OFFSET = place.VALUE, place.SCALE, place.OFFSET
BEST_SCALE, MINIMUM = place.BEST_SCALE, place.MINIMUM
BEST_INVERSE, BEST_LEVELS_MINIMUM = place.BEST_INVERSE, place.BEST_LEVELS_MINIMUM
TILE = place.TILE
WORKSPACE = place.WORKSPACE
NO_LEVEL = i32(0)
SIX_BITS = f32(63)
WORDS = LANES // 8
"""Eight levels of neighbouring lanes, one byte each, are handled as one little-endian word."""
FOUR = np.uint64(4)
LOW_BITS_OF_EACH = np.uint64(0x0F0F0F0F0F0F0F0F)
LOWEST_BIT_OF_EACH = np.uint64(0x0101010101010101)
GATHER = np.uint64(0x0102040810204080)
STEPS = {"Q4_K": inverse_scale_steps(15, -1.0, 0.1, 21), "Q5_K": inverse_scale_steps(31, -0.5, 0.1, 16)}


@kernel
def six_bits(value: np.float32, scale: np.float32) -> np.uint8:
    """Return `scale * value` as a whole number up to 63, cut to eight bits first, as ggml does."""
    return min(u8(63), u8(nearest_int(f32(scale * value)) & 255))


@kernel
def write_scales(
    space: NDArray[np.float32], block: int, sixes: NDArray[np.uint8], head: NDArray[np.uint8]
) -> None:
    """Write d, dmin and the 12 bytes of one super-block, and set SCALE and OFFSET to what they now stand for.

    Scales 0-3 take the low six bits of bytes 0-3; scales 4-7 have their low four bits in bytes 8-11 and
    their upper two in the tops of bytes 0-3. The same for minimums with bytes 4-7: 8 x 12 bits in 12 bytes.
    `sixes` is scratch for eight scales and eight minimums.
    """
    largest_scale, largest_minimum = ZERO, ZERO
    first = block * 8
    for j in range(8):
        scale, minimum = space[BEST_SCALE + first + j], f32(-space[MINIMUM + first + j])
        largest_scale = scale if scale > largest_scale else largest_scale
        largest_minimum = minimum if minimum > largest_minimum else largest_minimum
    by_scale = f32(SIX_BITS / largest_scale) if largest_scale > ZERO else ZERO
    by_minimum = f32(SIX_BITS / largest_minimum) if largest_minimum > ZERO else ZERO
    d = half_bits(f32(largest_scale / SIX_BITS))
    dmin = half_bits(f32(largest_minimum / SIX_BITS))
    d_value, dmin_value = half_value(d), half_value(dmin)
    for j in range(8):
        sixes[j] = six_bits(space[BEST_SCALE + first + j], by_scale)
        sixes[8 + j] = six_bits(f32(-space[MINIMUM + first + j]), by_minimum)
        space[SCALE + first + j] = f32(d_value * f32(sixes[j]))
        space[OFFSET + first + j] = f32(dmin_value * f32(sixes[8 + j]))
    head[0], head[1] = u8(d & 255), u8(d >> 8)
    head[2], head[3] = u8(dmin & 255), u8(dmin >> 8)
    for j in range(4):
        head[4 + j] = sixes[j] | u8((sixes[j + 4] >> 4) << 6)
        head[8 + j] = sixes[8 + j] | u8((sixes[j + 12] >> 4) << 6)
        head[12 + j] = (sixes[j + 4] & 15) | u8((sixes[j + 12] & 15) << 4)


@kernel
def write_levels(space: NDArray[np.float32], levels: NDArray[np.uint8], top: np.int32) -> None:
    """Set the levels again, now for the stored scales. Example: (x + 0.5) / 0.1 → level 7 for x = 0.2.

    A sub-block whose stored scale is zero keeps the levels that the search ended with.
    """
    for i in range(ELEMENTS):
        for lane in range(LANES):
            x = space[VALUE + i * LANES + lane]
            level = nearest_int(f32(f32(x + space[OFFSET + lane]) / space[SCALE + lane]))
            level = level if level > NO_LEVEL else NO_LEVEL
            level = level if level < top else top
            levels[i * LANES + lane] = u8(level)
    for lane in range(LANES):
        if space[SCALE + lane] == ZERO:
            inverse = space[BEST_INVERSE + lane]
            minimum = space[BEST_LEVELS_MINIMUM + lane]
            for i in range(ELEMENTS):
                level = nearest_int(f32(inverse * f32(space[VALUE + i * LANES + lane] - minimum)))
                level = min(max(level, NO_LEVEL), top)
                levels[i * LANES + lane] = u8(NO_LEVEL if inverse == ZERO else level)


@kernel
def write_fifth_bits(words: NDArray[np.uint64], block: int, target: NDArray[np.uint8]) -> None:
    """Bit j of byte i is the fifth bit of weight i in sub-block j.

    The eight levels of weight i are one word. Its fifth bits, moved to bit 0 of each byte, are gathered by a
    product: byte j times 2**(56 - 7 * j) lands on bit 56 + j, and no two terms meet.
    """
    for i in range(ELEMENTS):
        bits = np.uint64((words[i * WORDS + block] >> FOUR) & LOWEST_BIT_OF_EACH)
        target[i] = u8(np.uint64(bits * GATHER) >> np.uint64(56))


@kernel
def write_low_bits(words: NDArray[np.uint64], block: int, target: NDArray[np.uint8]) -> None:
    """Byte i of 32 holds weight i of two neighbouring sub-blocks: levels 5 and 12 make 0xC5."""
    for i in range(ELEMENTS):
        word = np.uint64(words[i * WORDS + block] & LOW_BITS_OF_EACH)
        pairs = np.uint64(word | np.uint64(word >> FOUR))  # bytes 0, 2, 4 and 6
        target[i] = u8(pairs)
        target[32 + i] = u8(pairs >> np.uint64(16))
        target[64 + i] = u8(pairs >> np.uint64(32))
        target[96 + i] = u8(pairs >> np.uint64(48))


@kernel
def store_tile(
    space: NDArray[np.float32], levels: NDArray[np.uint8], bits: int, blocks: int, target: NDArray[np.uint8]
) -> None:
    """Write the first `blocks` of a searched tile."""
    size = target.size // blocks
    for block in range(blocks):
        write_scales(space, block, levels[TILE:], target[block * size : block * size + 16])
    write_levels(space, levels, i32((1 << bits) - 1))
    words = levels[:TILE].view(np.uint64)
    for block in range(blocks):
        rest = target[block * size + 16 : (block + 1) * size]
        if bits == 5:
            write_fifth_bits(words, block, rest[:32])
            write_low_bits(words, block, rest[32:])
        else:
            write_low_bits(words, block, rest)


@kernel
def quantize(
    source: NDArray[np.uint16], kind: int, bits: int, steps: NDArray[np.float32], target: NDArray[np.uint8]
) -> None:
    """Store whole blocks.

    Args:
        source: bits of bf16 or f16 numbers, or float32 numbers, (blocks * 256,).
        kind: BF16, F16 or F32.
        bits: 4 or 5.
        steps: `STEPS` of the type.
        target: (blocks * 144,), or 176 for five bits.
    """
    space = workspace(WORKSPACE)
    natural = np.empty(TILE, np.float32)
    levels = np.empty(TILE + 16, np.uint8)  # and write_scales' scratch
    size = 144 if bits == 4 else 176
    highest = i32((1 << bits) - 1)
    blocks = source.size // 256
    for first in range(0, blocks, SUPER_BLOCKS):
        last = min(first + SUPER_BLOCKS, blocks)
        widen(source[first * 256 : last * 256], kind, natural)
        transpose(natural, space)
        search(space, steps, f32(highest), i32(MAGIC_BITS + highest))
        store_tile(space, levels, bits, last - first, target[first * size : last * size])


@kernel
def transpose(natural: NDArray[np.float32], space: NDArray[np.float32]) -> None:
    """Put weight `i` of sub-block `lane` to place `i * LANES + lane`: weight 33 is element 1 of lane 1."""
    for i in range(ELEMENTS):
        for lane in range(LANES):
            space[VALUE + i * LANES + lane] = natural[lane * ELEMENTS + i]
