"""The table of tensors of a GGUF file: names, shapes, types and where the bytes are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.gguf.cursor import shown
from phi4local.gguf.tensor_types import REMOVED_TENSOR_TYPES, TENSOR_TYPES, TensorType, row_bytes

if TYPE_CHECKING:
    from phi4local.gguf.cursor import Cursor

MAX_TENSORS = 4_096
"""Most tensors of a file; Phi-4 has 243."""

MAX_DIMENSIONS = 4
MAX_NAME_BYTES = 63
_MAX_ELEMENTS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file.

    Attributes:
        name: such as `blk.0.attn_qkv.weight`.
        shape: numbers along each axis, the row length first (GGUF's `ne`, PyTorch's shape backwards).
        type: element type.
        offset: first byte, counted from the file's `data_offset`.
        size_bytes: bytes without padding.

    Example: Phi-4's `token_embd.weight` has shape (5120, 100352): 100,352 rows of 5,120 numbers.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    size_bytes: int


def padded(size: int, alignment: int) -> int:
    """Return the next multiple of `alignment`.

    Example: `padded(33, 32) == 64`, and `padded(64, 32) == 64`.
    """
    return -(-size // alignment) * alignment


def read_tensor_table(cursor: Cursor, count: int, alignment: int) -> tuple[TensorInfo, ...]:
    """Read `count` entries; each begins where the padded one before it ends, as ggml demands.

    Raises:
        GGUFError: a name twice, a shape, type or offset that cannot be, or a limit exceeded.
        ShortBufferError: the buffer ends before the last entry.
    """
    tensors: dict[str, TensorInfo] = {}
    offset = 0
    for index in range(count):
        tensor = _read_entry(cursor, index, offset)
        if tensor.name in tensors:
            raise cursor.error(f"tensor `{tensor.name}` stands there twice")
        tensors[tensor.name] = tensor
        offset += padded(tensor.size_bytes, alignment)
    return tuple(tensors.values())


def _read_entry(cursor: Cursor, index: int, expected_offset: int) -> TensorInfo:
    name = cursor.text(f"name of tensor {index}", max_bytes=MAX_NAME_BYTES)
    if not (name and name.isascii() and name.isprintable()):
        raise cursor.error(f"name of tensor {index}, `{shown(name)}`, is empty or not printable ASCII")
    what = f"tensor `{shown(name)}`"
    shape = _read_shape(cursor, what)
    element_type = _read_type(cursor, what)
    if shape[0] % element_type.block_elements:
        raise cursor.error(
            f"{what} has rows of {shape[0]:,} numbers, no multiple of {element_type.block_elements}, "
            f"the block of {element_type.name}"
        )
    size_bytes = row_bytes(element_type, shape[0]) * math.prod(shape[1:])
    offset = cursor.u64()
    if offset != expected_offset:
        raise cursor.error(f"{what} begins at offset {offset:,}; expected {expected_offset:,}")
    return TensorInfo(name, shape, element_type, offset, size_bytes)


def _read_shape(cursor: Cursor, what: str) -> tuple[int, ...]:
    dimensions = cursor.u32()
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.error(f"{what} has {dimensions:,} dimensions; expected 1 to {MAX_DIMENSIONS}")
    shape = tuple([cursor.u64() for _ in range(dimensions)])
    # Zeros do not make a huge axis harmless: ggml multiplies the axes in 64 bits.
    if math.prod(axis or 1 for axis in shape) > _MAX_ELEMENTS:
        axes = " x ".join(f"{axis:,}" for axis in shape)
        raise cursor.error(f"{what} has the shape {axes}: more than 2^63 numbers")
    return shape


def _read_type(cursor: Cursor, what: str) -> TensorType:
    type_id = cursor.u32()
    if type_id in TENSOR_TYPES:
        return TENSOR_TYPES[type_id]
    if type_id in REMOVED_TENSOR_TYPES:
        raise cursor.error(f"{what} has type {REMOVED_TENSOR_TYPES[type_id]}, which ggml removed")
    raise cursor.error(f"{what} has tensor type {type_id}, which does not exist")
