"""Tiles: 64 neighbouring sub-blocks, widened to float32 and turned so that lanes are neighbours.

A sub-block's weights must be summed up in order, which a vector unit cannot do. But 64 sub-blocks can be
summed up side by side, one in each lane. So weight `i` of sub-block `lane` goes to place `i * 64 + lane`.
Everything about one tile lies in one workspace of float32, at offsets known when this is compiled: so LLVM
sees that nothing overlaps. Sixteen lanes share one AVX-512 instruction, eight one of AVX2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from phi4local.convert.kernels.arithmetic import ZERO, f32, i32, kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANES = 64
UNROLL = 8
"""Elements between two spills of the sums. At 16 LLVM gives up and emits scalar code, six times slower."""
MASK = 31
"""`i & MASK` is `i`, but LLVM sees that no index made of it is negative; otherwise the code is scalar."""
TILE = 32 * LANES
"""Places of a tile; sub-blocks of 16 weights use the first half."""

# Offsets in the workspace: three tiles, one number for each lane, and weights in the order
# of the source, before they are turned. Searches add theirs.
VALUE = 0
IMPORTANCE = VALUE + TILE
LEVEL = IMPORTANCE + TILE
SPREAD = LEVEL + TILE
NATURAL = SPREAD + LANES
FIRST_FREE = NATURAL + TILE

LINE = 64
"""Bytes that processors read from memory at a time; where it is 128, half of the hints are repeated."""

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


@intrinsic
def _prefetch(_typing: Any, address: Any) -> Any:  # noqa: ANN401 - Numba has no types
    """Tell the processor that what is at `address` will be read soon; an address of nothing does no harm."""

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:  # noqa: ANN401
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        whole = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, whole, whole, whole])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        read, second_level, data = whole(0), whole(2), whole(1)
        builder.call(function, [pointer, read, second_level, data])
        return context.get_dummy_value()

    return types.void(address), generate


@kernel
def read_ahead(source: NDArray[np.uint16], kind: int, first: int, count: int) -> None:
    """Bring up to `count` numbers of `source` from number `first` on near the processor; see `widen`.

    A tile's weights are read in one go, and then there is a long search. Without this hint the next tile's
    are fetched only when the search is over: a tenth of Q3_K's time.
    """
    places = 2 if kind == F32 else 1
    last = min((first + count) * places, source.size)
    for place in range(first * places, last, LINE // 2):
        _prefetch(source.ctypes.data + 2 * place)


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
    read_ahead(source, kind, first + count, natural.size)


@kernel
def transpose(space: NDArray[np.float32], elements: int, tile: int) -> None:
    """Put weight `i` of sub-block `lane`, in order at NATURAL, to place `tile + i * LANES + lane`.

    Example: in sub-blocks of 32 `elements`, weight 33 is element 1 of lane 1 and goes to place 65.

    One number at a time takes twice as long. Here every fourth number is brought together, and every fourth
    of those: 1 5 9 13, 2 6 10 14, ... Such loops the compiler makes of shuffles, if they are not short and
    nothing in them is a loop. NATURAL and LEVEL are overwritten. `tile & IMPORTANCE` is
    `tile`, as in MASK.

    Args:
        space: the workspace, with the weights at NATURAL.
        elements: of a sub-block, 16 or 32.
        tile: VALUE or IMPORTANCE.
    """
    if elements == 32:
        _transpose_32(space, tile)
    else:
        _transpose_16(space, tile)


@kernel
def _transpose_16(space: NDArray[np.float32], tile: int) -> None:
    quarter = TILE // 8
    for m in range(quarter):
        a, b = space[NATURAL + 4 * m], space[NATURAL + 4 * m + 1]
        c, d = space[NATURAL + 4 * m + 2], space[NATURAL + 4 * m + 3]
        space[LEVEL + m], space[LEVEL + quarter + m] = a, b
        space[LEVEL + 2 * quarter + m], space[LEVEL + 3 * quarter + m] = c, d
    for i in range(4):
        row, part = (tile & IMPORTANCE) + (i & MASK) * LANES, LEVEL + (i & MASK) * quarter
        for lane in range(LANES):
            a, b = space[part + 4 * lane], space[part + 4 * lane + 1]
            c, d = space[part + 4 * lane + 2], space[part + 4 * lane + 3]
            space[row + lane], space[row + 4 * LANES + lane] = a, b
            space[row + 8 * LANES + lane], space[row + 12 * LANES + lane] = c, d


@kernel
def _transpose_32(space: NDArray[np.float32], tile: int) -> None:
    """Treat the tile as 128 sub-blocks of 16, then bring even and odd ones of them together."""
    quarter, halves = TILE // 4, 2 * LANES
    for m in range(quarter):
        a, b = space[NATURAL + 4 * m], space[NATURAL + 4 * m + 1]
        c, d = space[NATURAL + 4 * m + 2], space[NATURAL + 4 * m + 3]
        space[LEVEL + m], space[LEVEL + quarter + m] = a, b
        space[LEVEL + 2 * quarter + m], space[LEVEL + 3 * quarter + m] = c, d
    for i in range(4):
        row, part = NATURAL + (i & MASK) * halves, LEVEL + (i & MASK) * quarter
        for half in range(halves):
            a, b = space[part + 4 * half], space[part + 4 * half + 1]
            c, d = space[part + 4 * half + 2], space[part + 4 * half + 3]
            space[row + half], space[row + 4 * halves + half] = a, b
            space[row + 8 * halves + half], space[row + 12 * halves + half] = c, d
    for i in range(16):
        row, part = (tile & IMPORTANCE) + (i & MASK) * LANES, NATURAL + (i & MASK) * halves
        for lane in range(LANES):
            first, second = space[part + 2 * lane], space[part + 2 * lane + 1]
            space[row + lane], space[row + 16 * LANES + lane] = first, second


@kernel
def any_is_zero(space: NDArray[np.float32], numbers: int) -> bool:
    """Return whether one of the 64 numbers at `numbers` is zero; they are looked at side by side."""
    place = space[numbers : numbers + LANES]
    count = i32(0)
    for lane in range(LANES):
        count = i32(count + (i32(1) if place[lane] == ZERO else i32(0)))
    return bool(count > 0)


@kernel
def of_its_block(
    lane: int, first: np.float32, second: np.float32, third: np.float32, fourth: np.float32
) -> np.float32:
    """Return the number of the super-block that `lane` of sixteen times four belongs to: 20 → `second`."""
    upper = third if lane < 48 else fourth
    lower = first if lane < 16 else second
    return lower if lane < 32 else upper
