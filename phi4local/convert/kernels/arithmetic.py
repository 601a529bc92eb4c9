"""The arithmetic that every kernel shares: how they are compiled, rounding, half floats.

Bytes equal ggml's only if every operation is one float32 operation in ggml's order. So each result is put
into `f32(...)` (Numba would widen int32 * float32 to float64), there is no fast-math, and nothing is
contracted to a fused multiply-add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numba.core import config

from phi4local.convert.kernels import cache

if TYPE_CHECKING:
    from collections.abc import Callable

f32 = np.float32
i32 = np.int32
u8 = np.uint8

ZERO = f32(0)
ONE = f32(1)
EPSILON = f32(1e-15)
"""GROUP_MAX_EPS: a block whose largest magnitude is below it is stored as zeros."""

MAGIC = f32(12582912)
"""1.5 * 2**23. A float32 of this size has no bits behind the point, so adding it rounds to nearest even."""
MANTISSA = i32(0x7FFFFF)
EXPONENT = i32(0x4B000000)
MAGIC_BITS = i32(0x4B400000)
HALF_RANGE = i32(0x400000)


def entry(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - Numba has no types
    """Compile `function` on its first call; the machine code is kept in phi4local's own cache folder."""
    return _compiled(function)


def kernel(function: Callable[..., Any]) -> Any:  # noqa: ANN401
    """Do what `entry` does for a part that Python does not call: that compiles an eighth faster."""
    return _compiled(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _compiled(function: Callable[..., Any], **options: bool) -> Any:  # noqa: ANN401
    folder = cache.writable_folder()
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder or "")  # read while the decorator runs; other users of Numba keep theirs
    options |= {"nogil": True, "boundscheck": False, "cache": folder is not None}
    try:
        return njit(error_model="numpy", **options)(function)
    finally:
        config.CACHE_DIR = before


@kernel
def nearest_int(value: np.float32) -> np.int32:
    """Round to the nearest integer, ties to even: ggml's `nearest_int`.

    2.5 + 12582912 = 12582914 (even), bits 0x4B400002; the low 23 bits are 0x400002; minus 0x400000 is 2.
    Beyond +-2**22 the bits are garbage, and here they are the same garbage as in ggml.
    """
    bits = f32(value + MAGIC).view(np.int32)
    return i32(i32(bits & MANTISSA) - HALF_RANGE)


@kernel
def rounded_level(value: np.float32, top: np.int32) -> np.float32:
    """Return `nearest_int(value)` limited to 0...`top` - MAGIC_BITS, as float32.

    The limits are applied to the bits of `value + MAGIC`, which grow with the number: 16.4 becomes
    0x4B400010; with `top` 0x4B40000F (four bits) that is cut to 0x4B40000F, and minus MAGIC it is 15.0.
    """
    bits = f32(value + MAGIC).view(np.int32)
    bits = i32(i32(bits & MANTISSA) | EXPONENT)
    bits = bits if bits > MAGIC_BITS else MAGIC_BITS
    bits = bits if bits < top else top
    return f32(np.int32(bits).view(np.float32) - MAGIC)


@kernel
def half_bits(value: np.float32) -> np.uint16:
    """Return the bits of `value` as a half float, rounded to nearest even.

    1.0 is 0x3F800000: 0x3F800000 - 0x38000000 = 0x07800000, without its 13 lowest bits 0x3C00.
    """
    word = np.int64(f32(value).view(np.uint32))
    sign = (word >> 16) & 0x8000
    magnitude = word & 0x7FFFFFFF
    if magnitude > 0x7F800000:
        return np.uint16(sign | 0x7E00)
    if magnitude >= 0x47800000:  # 65,536 and more
        return np.uint16(sign | 0x7C00)
    if magnitude < 0x33000000:  # less than half of the smallest
        return np.uint16(sign)
    if magnitude >= 0x38800000:
        mantissa = magnitude - 0x38000000
        shift = np.int64(13)
    else:
        mantissa = (magnitude & 0x7FFFFF) | 0x800000
        shift = 126 - (magnitude >> 23)
    half = mantissa >> shift
    rest = mantissa & ((1 << shift) - 1)
    middle = 1 << (shift - 1)
    if rest > middle or (rest == middle and (half & 1)):
        half += 1
    return np.uint16(sign | half)


@kernel
def half_value(bits: np.uint16) -> np.float32:
    """Return the number that a half float's bits stand for. 0x3C00 is 1.0, 0x0001 is 2**-24."""
    word = np.int64(bits)
    sign = (word & 0x8000) << 16
    exponent = (word >> 10) & 31
    mantissa = word & 0x3FF
    if exponent == 31:
        return f32(np.uint32(sign | 0x7F800000 | (mantissa << 13)).view(np.float32))
    if exponent == 0:
        small = f32(f32(mantissa) * f32(5.9604644775390625e-08))
        return f32(-small) if sign else small
    return f32(np.uint32(sign | ((exponent + 112) << 23) | (mantissa << 13)).view(np.float32))
