"""Say exactly which weights end a conversion. It happens once, so the whole tensor may be read again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from phi4local.errors import UnstorableWeightError
from phi4local.native.ggml import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

F16_OVERFLOW = 65520.0
"""The smallest number that F16 rounds to infinity."""
QUANTIZED_OVERFLOW = 2.0**30
"""Above every quantized type's range. No sum inside ggml overflows below it; Q6_K would store 1e20 as 0."""

# Where a block keeps its 16-bit scales (block_* in ggml/src/ggml-common.h).
SCALE_OFFSETS = {
    "Q4_0": (0,),
    "Q4_1": (0, 2),
    "Q5_0": (0,),
    "Q5_1": (0, 2),
    "Q8_0": (0,),
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    **dict.fromkeys(("IQ4_NL", "IQ4_XS", "IQ3_XXS", "IQ3_S", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S"), (0,)),
    "IQ1_M": (),
    "TQ1_0": (52,),
    "TQ2_0": (64,),
    "MXFP4": (),
}


def storable(stored: NDArray[np.uint8], type_name: str) -> NDArray[np.bool_]:
    """Return for each block whether all its scales are finite.

    Args:
        stored: bytes of whole blocks.
        type_name: their type, such as "Q8_0".
    """
    blocks = stored.reshape(-1, TENSOR_TYPES[type_name].block_bytes)
    if type_name == "MXFP4":  # the scale is an exponent of eight bits
        return np.not_equal(blocks[:, 0], 0xFF)
    if type_name == "IQ1_M":
        return np.isfinite(_iq1_m_scales(blocks))
    finite = np.ones(len(blocks), np.bool_)
    for offset in SCALE_OFFSETS.get(type_name, ()):
        finite &= np.isfinite(np.ascontiguousarray(blocks[:, offset : offset + 2]).view("<f2")[:, 0])
    return finite


def _iq1_m_scales(blocks: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Put each block's 16-bit scale together from the upper four bits of its last four 16-bit words."""
    words = np.ascontiguousarray(blocks[:, 48:56]).view("<u2")
    scales = words[:, 0] >> 12 | words[:, 1] >> 8 & 0x00F0 | words[:, 2] >> 4 & 0x0F00 | words[:, 3] & 0xF000
    return scales.view("<f2")


def limit(type_name: str, largest_column_weight: float = 0.0) -> float:
    """Return what the absolute values of weights must stay below for `type_name`.

    With column weights, ggml adds up weight^2 x column weight; where that overflows, its search of a grid
    finds nothing and ends the process.

    Example: `limit("F16")` → 65,520.
    """
    if type_name == "F16":
        return F16_OVERFLOW
    if type_name not in SCALE_OFFSETS:
        return math.inf
    return QUANTIZED_OVERFLOW / math.sqrt(max(1.0, largest_column_weight))


def unstorable(
    tensor: str,
    target: str,
    pieces: Iterable[tuple[int, NDArray[np.float32]]],
    store: Callable[[NDArray[np.float32]], NDArray[np.uint8]],
    largest: float,
) -> UnstorableWeightError:
    """Return the error that counts what `target` cannot store of a tensor: values for F16, else blocks.

    Args:
        tensor: what the message calls it.
        target: the type, such as "Q8_0".
        pieces: all of the tensor: the first element's index, and float32 rows, (rows, elements of a row).
        store: quantizes such rows.
        largest: what `limit` returned.

    Example: 8.4 million somewhere in a tensor for Q8_0, whose scale is a 127th of it in F16 → one block.
    """
    count, first_index, first_value = 0, -1, 0.0
    for start, values in pieces:
        places = _places(values, target, store, largest)
        if places.size and not count:
            first_index, first_value = start + int(places[0]), float(values.reshape(-1)[places[0]])
        count += int(places.size)
    return UnstorableWeightError(tensor, target, count, first_index, first_value)


def _places(
    values: NDArray[np.float32],
    target: str,
    store: Callable[[NDArray[np.float32]], NDArray[np.uint8]],
    largest_allowed: float,
) -> NDArray[np.intp]:
    """Return where the values are that F16 cannot store, or the largest of each block that cannot be."""
    if target == "F16":
        return np.flatnonzero(np.abs(values) >= F16_OVERFLOW)
    length = TENSOR_TYPES[target].block_elements
    blocks = np.abs(values.reshape(-1, length))
    largest = blocks.argmax(axis=1)
    bad = blocks.max(axis=1) >= largest_allowed
    tame = np.where(bad[:, None], np.float32(0), values.reshape(-1, length)).reshape(values.shape)
    bad |= ~storable(store(tame), target)
    places: NDArray[np.intp] = np.flatnonzero(bad) * length + largest[bad]
    return places
