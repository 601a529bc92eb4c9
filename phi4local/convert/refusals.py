"""Say exactly which weights end a conversion. It happens once, so the whole tensor may be read again."""

from __future__ import annotations

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
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}


def storable(stored: NDArray[np.uint8], type_name: str) -> NDArray[np.bool_]:
    """Return for each block whether all its scales are finite.

    Args:
        stored: bytes of whole blocks.
        type_name: their type, such as "Q8_0".
    """
    blocks = stored.reshape(-1, TENSOR_TYPES[type_name].block_bytes)
    finite = np.ones(len(blocks), np.bool_)
    for offset in SCALE_OFFSETS.get(type_name, ()):
        finite &= np.isfinite(np.ascontiguousarray(blocks[:, offset : offset + 2]).view("<f2")[:, 0])
    return finite


def unstorable(
    tensor: str,
    target: str,
    pieces: Iterable[tuple[int, NDArray[np.float32]]],
    store: Callable[[NDArray[np.float32]], NDArray[np.uint8]],
) -> UnstorableWeightError:
    """Return the error that counts what `target` cannot store of a tensor: values for F16, else blocks.

    Args:
        tensor: what the message calls it.
        target: the type, such as "Q8_0".
        pieces: all of the tensor: the first element's index, and float32 rows, (rows, elements of a row).
        store: quantizes such rows.

    Example: 8.4 million somewhere in a tensor for Q8_0, whose scale is a 127th of it in F16 → one block.
    """
    count, first_index, first_value = 0, -1, 0.0
    for start, values in pieces:
        places = _places(values, target, store)
        if places.size and not count:
            first_index, first_value = start + int(places[0]), float(values.reshape(-1)[places[0]])
        count += int(places.size)
    return UnstorableWeightError(tensor, target, count, first_index, first_value)


def _places(
    values: NDArray[np.float32], target: str, store: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
) -> NDArray[np.intp]:
    """Return where the values are that F16 cannot store, or the largest of each block that cannot be."""
    if target == "F16":
        return np.flatnonzero(np.abs(values) >= F16_OVERFLOW)
    length = TENSOR_TYPES[target].block_elements
    blocks = np.abs(values.reshape(-1, length))
    largest = blocks.argmax(axis=1)
    bad = blocks.max(axis=1) >= QUANTIZED_OVERFLOW
    tame = np.where(bad[:, None], np.float32(0), values.reshape(-1, length)).reshape(values.shape)
    bad |= ~storable(store(tame), target)
    places: NDArray[np.intp] = np.flatnonzero(bad) * length + largest[bad]
    return places
