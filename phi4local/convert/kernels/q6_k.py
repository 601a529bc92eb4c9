"""Q6_K: super-blocks of 256 weights, sixteen sub-blocks with an 8-bit scale each and no minimum.

A block is: 128 bytes of low four bits, 64 bytes of upper two bits, 16 signed scales, a half float d. A weight
is d * scale * (level - 32). The search (ggml's `make_qx_quants`, weights x * x) tries 19 inverse scales near
-32 / the weight of largest magnitude; 64 sub-blocks of 16 weights lie side by side, as in `minimum_search`.

Worked sub-block: x = 2, -1, 0 ... 0. The largest is 2, the inverse scale -32 / 2 = -16, the levels -32, 16
and 0. The sum of w * x * level is 4 * 2 * -32 + 1 * -1 * 16 = -272, that of w * level**2 is 4352, so the
scale is -272 / 4352 = -0.0625 and the error is 0.

Source: `quantize_row_q6_K_ref` in ggml/src/ggml-quants.c of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local.convert.kernels.arithmetic import (
    EPSILON,
    MAGIC,
    MAGIC_BITS,
    ONE,
    ZERO,
    f32,
    half_bits,
    half_value,
    i32,
    kernel,
    nearest_int,
    u8,
)
from phi4local.convert.kernels.tiles import LANES, UNROLL, widen, workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELEMENTS = 16
TILE = ELEMENTS * LANES
SUPER_BLOCKS = LANES // 16
BLOCK_BYTES = 210
WORDS = LANES // 8
LOW_BITS_OF_EACH = np.uint64(0x0F0F0F0F0F0F0F0F)
UPPER_BITS_OF_EACH = np.uint64(0x0303030303030303)

# Offsets in the workspace: three tiles, then one number for each lane.
VALUE = 0
IMPORTANCE = VALUE + TILE
WEIGHTED = IMPORTANCE + TILE
LARGEST = WEIGHTED + TILE
MAGNITUDE = LARGEST + LANES
INVERSE = MAGNITUDE + LANES
SUM_XL = INVERSE + LANES
SUM_L2 = SUM_XL + LANES
BEST_SCALE = SUM_L2 + LANES
BEST = BEST_SCALE + LANES
BEST_INVERSE = BEST + LANES
SCALE = BEST_INVERSE + LANES
WORKSPACE = SCALE + LANES

LOWEST_BITS = i32(MAGIC_BITS - 32)
HIGHEST_BITS = i32(MAGIC_BITS + 31)
LOWEST, HIGHEST, HALF = i32(-32), i32(31), i32(32)
STEPS = np.array([-f32(f32(32) + f32(f32(0.1) * f32(i))) for i in range(-9, 10) if i], np.float32)
"""Numerators of the inverse scales after the first, -32: -31.1, -31.2, … -32.9."""


@kernel
def signed_level(value: np.float32) -> np.float32:
    """Return the nearest integer in -32...31 as float32; |value| is at most 33 here, so no bit is masked."""
    bits = f32(value + MAGIC).view(np.int32)
    bits = bits if bits > LOWEST_BITS else LOWEST_BITS
    bits = bits if bits < HIGHEST_BITS else HIGHEST_BITS
    return f32(np.int32(bits).view(np.float32) - MAGIC)


@kernel
def measure(space: NDArray[np.float32]) -> None:
    """Set LARGEST, the weight of largest magnitude, and IMPORTANCE = x * x."""
    for lane in range(LANES):
        space[LARGEST + lane] = ZERO
        space[MAGNITUDE + lane] = ZERO
    for i in range(ELEMENTS):
        for lane in range(LANES):
            x = space[VALUE + i * LANES + lane]
            largest, magnitude = space[LARGEST + lane], space[MAGNITUDE + lane]
            larger = abs(x) > magnitude
            space[LARGEST + lane] = x if larger else largest
            space[MAGNITUDE + lane] = abs(x) if larger else magnitude
    for i in range(TILE):
        x = space[VALUE + i]
        w = f32(x * x)
        space[IMPORTANCE + i] = w
        space[WEIGHTED + i] = f32(w * x)


@kernel
def add_levels(space: NDArray[np.float32], step: np.float32) -> None:
    """Add up the sums of the least squares for the inverse scale `step` / LARGEST. The hot loop."""
    for lane in range(LANES):
        space[INVERSE + lane] = f32(step / space[LARGEST + lane])
        space[SUM_XL + lane] = ZERO
        space[SUM_L2 + lane] = ZERO
    for i in range(0, ELEMENTS, UNROLL):
        for lane in range(LANES):
            inverse = space[INVERSE + lane]
            sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
            for k in range(UNROLL):
                level = signed_level(f32(inverse * space[VALUE + (i + k) * LANES + lane]))
                sum_xl = f32(sum_xl + f32(space[WEIGHTED + (i + k) * LANES + lane] * level))
                sum_l2 = f32(sum_l2 + f32(f32(space[IMPORTANCE + (i + k) * LANES + lane] * level) * level))
            space[SUM_XL + lane] = sum_xl
            space[SUM_L2 + lane] = sum_l2


@kernel
def search(space: NDArray[np.float32], steps: NDArray[np.float32]) -> None:
    """Find BEST_SCALE, and BEST_INVERSE that made its levels, of each of the 64 sub-blocks at VALUE."""
    measure(space)
    add_levels(space, f32(LOWEST))
    for lane in range(LANES):
        sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
        scale = f32(sum_xl / sum_l2)
        scale = ZERO if sum_l2 == ZERO else scale
        space[BEST_SCALE + lane] = scale
        space[BEST + lane] = f32(scale * sum_xl)
        space[BEST_INVERSE + lane] = space[INVERSE + lane]
    for step in steps:
        add_levels(space, step)
        keep_better(space)
    for lane in range(LANES):
        scale = space[BEST_SCALE + lane]
        space[BEST_SCALE + lane] = ZERO if space[MAGNITUDE + lane] < EPSILON else scale


@kernel
def keep_better(space: NDArray[np.float32]) -> None:
    """Keep this scale in the lanes where it explains more. All is loaded before it is selected."""
    for lane in range(LANES):
        sum_xl, sum_l2 = space[SUM_XL + lane], space[SUM_L2 + lane]
        best_scale, best = space[BEST_SCALE + lane], space[BEST + lane]
        inverse, best_inverse = space[INVERSE + lane], space[BEST_INVERSE + lane]
        better = (sum_l2 > ZERO) & (f32(sum_xl * sum_xl) > f32(best * sum_l2))
        scale = f32(sum_xl / sum_l2)
        space[BEST_SCALE + lane] = scale if better else best_scale
        space[BEST + lane] = f32(scale * sum_xl) if better else best
        space[BEST_INVERSE + lane] = inverse if better else best_inverse


@kernel
def write_scales(space: NDArray[np.float32], block: int, target: NDArray[np.uint8]) -> bool:
    """Write the 16 scales and d of one super-block, and set SCALE. Return `False` if all of it is zeros.

    The largest scale becomes -128: scales of 0.5 and -0.25 give d = -0.5 / 128 and the bytes -128 and 64.
    """
    largest, magnitude = ZERO, ZERO
    first = block * 16
    for j in range(16):
        scale = space[BEST_SCALE + first + j]
        largest = scale if abs(scale) > magnitude else largest
        magnitude = abs(scale) if abs(scale) > magnitude else magnitude
    if magnitude < EPSILON:
        for j in range(16):
            space[SCALE + first + j] = ONE
        return False
    inverse = f32(f32(-128) / largest)
    d = half_bits(f32(ONE / inverse))
    d_value = half_value(d)
    for j in range(16):
        scale = np.int8(min(i32(127), nearest_int(f32(inverse * space[BEST_SCALE + first + j]))))
        target[192 + j] = u8(scale)
        space[SCALE + first + j] = f32(d_value * f32(scale))
    target[208], target[209] = u8(d & 255), u8(d >> 8)
    return True


@kernel
def write_levels(space: NDArray[np.float32], levels: NDArray[np.uint8]) -> None:
    """Set the levels again, now for the stored scales, as 0...63. Example: 0.2 / 0.1 → 2 + 32 = 34.

    A sub-block whose stored scale is zero keeps the levels that the search ended with.
    """
    for i in range(ELEMENTS):
        for lane in range(LANES):
            level = nearest_int(f32(space[VALUE + i * LANES + lane] / space[SCALE + lane]))
            level = level if level > LOWEST else LOWEST
            level = level if level < HIGHEST else HIGHEST
            levels[i * LANES + lane] = u8(level + HALF)
    for lane in range(LANES):
        if space[SCALE + lane] == ZERO:
            empty = space[MAGNITUDE + lane] < EPSILON
            for i in range(ELEMENTS):
                level = nearest_int(f32(space[BEST_INVERSE + lane] * space[VALUE + i * LANES + lane]))
                level = min(max(level, LOWEST), HIGHEST)
                levels[i * LANES + lane] = u8(0 if empty else level + HALF)


@kernel
def write_bits(words: NDArray[np.uint64], block: int, target: NDArray[np.uint8]) -> None:
    """Pack the levels. Of each 128 weights, byte l of 64 holds the low bits of weights l and l + 64.

    Byte l of 32 holds the upper bits of weights l, l + 32, l + 64 and l + 96: levels 1, 17, 33 and 49 have
    the upper bits 0, 1, 2 and 3, which make 0b11100100. The eight sub-blocks of 128 weights are the bytes of
    one little-endian word: the sub-blocks 32 weights on are 2 bytes on, those 64 weights on are 4.
    """
    for i in range(ELEMENTS):
        for half in range(2):
            word = words[i * WORDS + block * 2 + half]
            low = np.uint64(word & LOW_BITS_OF_EACH)
            low = np.uint64(low | np.uint64(low >> np.uint64(32 - 4)))
            high = np.uint64(np.uint64(word >> np.uint64(4)) & UPPER_BITS_OF_EACH)
            high = np.uint64(high | np.uint64(high >> np.uint64(16 - 2)))
            high = np.uint64(high | np.uint64(high >> np.uint64(32 - 4)))
            place = half * 64 + i
            target[place] = u8(low)
            target[place + 16] = u8(low >> np.uint64(8))
            target[place + 32] = u8(low >> np.uint64(16))
            target[place + 48] = u8(low >> np.uint64(24))
            place = 128 + half * 32 + i
            target[place] = u8(high)
            target[place + 16] = u8(high >> np.uint64(8))


@kernel
def store_tile(
    space: NDArray[np.float32], levels: NDArray[np.uint8], blocks: int, target: NDArray[np.uint8]
) -> None:
    """Write the first `blocks` of a searched tile; a block without any scale is zeros."""
    for block in range(blocks):
        place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        levels[TILE + block] = write_scales(space, block, place)
    write_levels(space, levels)
    words = levels[:TILE].view(np.uint64)
    for block in range(blocks):
        place = target[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        if levels[TILE + block]:
            write_bits(words, block, place)
        else:
            place[:] = 0


@kernel
def transpose(natural: NDArray[np.float32], space: NDArray[np.float32]) -> None:
    """Put weight `i` of sub-block `lane` to place `i * LANES + lane`: weight 17 is element 1 of lane 1."""
    for i in range(ELEMENTS):
        for lane in range(LANES):
            space[VALUE + i * LANES + lane] = natural[lane * ELEMENTS + i]


@kernel
def quantize(
    source: NDArray[np.uint16], kind: int, steps: NDArray[np.float32], target: NDArray[np.uint8]
) -> None:
    """Store whole blocks.

    Args:
        source: bits of bf16 or f16 numbers, or float32 numbers, (blocks * 256,).
        kind: BF16, F16 or F32.
        steps: `STEPS`.
        target: (blocks * 210,).
    """
    space = workspace(WORKSPACE)
    natural = np.empty(TILE, np.float32)
    levels = np.empty(TILE + SUPER_BLOCKS, np.uint8)  # and which blocks hold anything
    blocks = source.size // 256
    for first in range(0, blocks, SUPER_BLOCKS):
        last = min(first + SUPER_BLOCKS, blocks)
        widen(source[first * 256 : last * 256], kind, natural)
        transpose(natural, space)
        search(space, steps)
        store_tile(space, levels, last - first, target[first * BLOCK_BYTES : last * BLOCK_BYTES])
