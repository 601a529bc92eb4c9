"""Read the header of a safetensors file: which tensors it holds, and where. No tensor data is read.

A file is 8 bytes of header length (little-endian), a JSON header, and the tensors' bytes without holes.
Source: safetensors/src/tensor.rs of huggingface/safetensors at 24b0b285, whose rules are kept: offsets start
at 0 and leave no gap, sizes follow from shape and type, the last tensor ends with the file. There a header
may have 100 MB; Phi-4's have 30 kB, and one of 100 MB takes gigabytes to parse.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from phi4local.convert.strict_json import parse_object, shown
from phi4local.errors import CheckpointError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.convert.streamed import ShardStream

MAXIMUM_HEADER_BYTES = 8 * 2**20
ELEMENT_BYTES = {"BF16": 2, "F16": 2, "F32": 4}
"""Types of weights that can be converted."""

_LARGEST_DIMENSION = 2**48


@dataclass(frozen=True, slots=True)
class SourceTensor:
    """One tensor of a checkpoint.

    Attributes:
        name: as the checkpoint calls it, such as `model.layers.0.mlp.down_proj.weight`.
        dtype: `BF16`, `F16` or `F32`.
        shape: (rows, elements of a row), or (elements,).
        shard: the file.
        offset: first byte, counted from the start of the file.
        size_bytes: number of bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: Path
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Shard:
    """One safetensors file and its state when its header was read."""

    path: Path
    size_bytes: int
    modified_ns: int
    inode: int
    header: bytes
    tensors: tuple[SourceTensor, ...]


def read_shard(path: Path) -> Shard:
    """Read and check the header of the safetensors file `path`.

    Example: the first shard of phi4-nano has a header of 3,520 bytes; its first tensor is
    `model.embed_tokens.weight`, BF16 of (8192, 256), 4,194,304 bytes.

    Raises:
        CheckpointError: missing, truncated, or against the rules of the format.
        UnsupportedCheckpointError: a tensor that is neither BF16 nor F16 nor F32.
    """
    try:
        if not path.is_file():
            raise CheckpointError(path, "this shard is missing")
        with path.open("rb") as file:
            state = os.fstat(file.fileno())
            size_bytes = state.st_size
            length = int.from_bytes(file.read(8), "little")
            _check_length(path, length, size_bytes)
            header = file.read(length)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror or error}") from error
    return Shard(
        path, size_bytes, state.st_mtime_ns, state.st_ino, header, _tensors(path, header, size_bytes)
    )


def read_streamed_shard(path: Path, stream: ShardStream) -> Shard:
    """Read and check the header of a safetensors file that arrives, and hang up.

    Args:
        path: what the file is called in errors; nothing is there.
        stream: the file.

    Raises:
        As `read_shard`, and what the stream raises.
    """
    size_bytes = stream.size_bytes
    length = int.from_bytes(stream.read(0, 8), "little")
    _check_length(path, length, size_bytes)
    header = stream.read(8, length)
    stream.close()
    return Shard(path, size_bytes, 0, 0, header, _tensors(path, header, size_bytes))


def _tensors(path: Path, header: bytes, size_bytes: int) -> tuple[SourceTensor, ...]:
    fields = parse_object(header, path)
    _check_metadata(path, fields.pop("__metadata__", {}))
    data_start = 8 + len(header)
    tensors = [_tensor(path, name, value, data_start) for name, value in fields.items()]
    tensors.sort(key=lambda tensor: (tensor.offset, tensor.size_bytes))
    _check_layout(path, tensors, data_start, size_bytes)
    return tuple(tensors)


def _check_length(path: Path, length: int, size_bytes: int) -> None:
    if size_bytes < 8:
        raise CheckpointError(path, f"is truncated: expected at least 8 bytes, found {size_bytes}")
    if length > MAXIMUM_HEADER_BYTES:
        raise CheckpointError(path, f"claims a header of {length:,} bytes; Phi-4's have about 30,000")
    if 8 + length > size_bytes:
        raise CheckpointError(
            path, f"is truncated: expected at least {8 + length:,} bytes, found {size_bytes:,}"
        )


def _check_metadata(path: Path, metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise CheckpointError(path, "its __metadata__ is not a table of texts")


def _tensor(path: Path, name: str, fields: object, data_start: int) -> SourceTensor:
    if not isinstance(fields, dict):
        raise CheckpointError(path, f"tensor `{shown(name)}` is not described by an object")
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str):
        raise CheckpointError(path, f"tensor `{shown(name)}` has no type")
    if not _is_whole_list(shape) or not _is_whole_list(offsets) or len(offsets) != 2:
        raise CheckpointError(path, f"tensor `{shown(name)}` has no valid shape or offsets")
    if dtype not in ELEMENT_BYTES:
        raise UnsupportedCheckpointError(
            f"`{path}`: tensor `{shown(name)}` has the type {shown(dtype)}; "
            f"only {', '.join(ELEMENT_BYTES)} can be converted",
            hint="use the checkpoint in its original precision",
        )
    first, last = offsets
    size_bytes = math.prod(shape) * ELEMENT_BYTES[dtype]
    if last - first != size_bytes:
        raise CheckpointError(
            path, f"tensor `{shown(name)}` has {last - first:,} bytes; its shape and type need {size_bytes:,}"
        )
    return SourceTensor(name, dtype, tuple(shape), path, data_start + first, size_bytes)


def _is_whole_list(value: object) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= 8
        and all(type(number) is int and 0 <= number <= _LARGEST_DIMENSION for number in value)
    )


def _check_layout(path: Path, tensors: list[SourceTensor], data_start: int, size_bytes: int) -> None:
    end = data_start
    for tensor in tensors:
        if tensor.offset != end:
            raise CheckpointError(
                path, f"tensor `{shown(tensor.name)}` overlaps another or leaves a hole before it"
            )
        end += tensor.size_bytes
    if end > size_bytes:
        raise CheckpointError(path, f"is truncated: expected {end:,} bytes, found {size_bytes:,}")
    if end < size_bytes:
        raise CheckpointError(path, f"has {size_bytes - end:,} bytes after its last tensor")
