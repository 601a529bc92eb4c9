"""Where everything lies in the output: one file, or several of at most a given size.

Several files are llama.cpp's split: `name-00001-of-00003.gguf` and so on. The first has all keys, each has
the three `split.*` keys and its own tensors. Source: tools/gguf-split/gguf-split.cpp and `llama_split_path`
in src/llama.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local.convert import writer
from phi4local.convert.metadata import MetadataEntry
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy import float32
    from numpy.typing import NDArray

    from phi4local.convert.model_source import NamedTensor


@dataclass(frozen=True, slots=True)
class TypedTensor:
    """A tensor and what it becomes.

    Attributes:
        tensor: its name, shape and source.
        type: what it is stored as, such as `Q4_K`.
        size_bytes: number of bytes, without the padding behind it.
        column_weights: float32 of (elements of a row,) from an importance matrix, or `None`.
    """

    tensor: NamedTensor
    type: str
    size_bytes: int
    column_weights: NDArray[float32] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of the output.

    Attributes:
        header: its first bytes.
        size_bytes: its size.
        tensors: how many it holds.
    """

    header: bytes = field(repr=False)
    size_bytes: int
    tensors: int

    @property
    def data_offset(self) -> int:
        """Return where the first tensor begins."""
        return len(self.header)


def lay_out(
    tensors: Sequence[TypedTensor], metadata: tuple[MetadataEntry, ...], *, split_bytes: int | None
) -> tuple[tuple[PlannedFile, ...], list[tuple[int, int]]]:
    """Return the files, and for each tensor (number of its file, offset from that file's `data_offset`).

    Args:
        tensors: in the order of the output.
        metadata: keys of the output.
        split_bytes: most bytes of tensors in one file, or `None`. A model that fits is one ordinary file.

    Example: three tensors of 64 bytes with `split_bytes=128` → two files, (0, 0), (0, 64), (1, 0).

    Raises:
        InvalidSettingError: a tensor has more than `split_bytes` bytes.
    """
    places: list[tuple[int, int]] = []
    file = offset = 0
    for tensor in tensors:
        size = writer.padded(tensor.size_bytes)
        if split_bytes is not None and offset + size > split_bytes:
            if size > split_bytes:
                raise _too_small(tensor, split_bytes)
            file, offset = file + 1, 0
        places.append((file, offset))
        offset += size
    count = file + 1
    parts: list[list[TypedTensor]] = [[] for _ in range(count)]
    for tensor, (number, _) in zip(tensors, places, strict=True):
        parts[number].append(tensor)
    files = [
        _file(part, _part_metadata(metadata, number, count, len(tensors)))
        for number, part in enumerate(parts)
    ]
    return tuple(files), places


def split_path(output: Path, number: int, count: int) -> Path:
    """Return the name of part `number` (from 0) of `count`; one part alone keeps the name.

    Example: `split_path(Path("phi-4.gguf"), 0, 3)` → `phi-4-00001-of-00003.gguf`.
    """
    if count == 1:
        return output
    return output.with_name(f"{output.name.removesuffix('.gguf')}-{number + 1:05d}-of-{count:05d}.gguf")


def _too_small(tensor: TypedTensor, split_bytes: int) -> InvalidSettingError:
    return InvalidSettingError(
        "split-max-size",
        f"is {split_bytes:,} bytes; tensor `{tensor.tensor.name}` alone has {tensor.size_bytes:,}",
        hint="choose a larger size: a tensor is not cut",
    )


def _part_metadata(
    metadata: tuple[MetadataEntry, ...], number: int, count: int, tensors: int
) -> tuple[MetadataEntry, ...]:
    if count == 1:
        return metadata
    return (
        *(metadata if number == 0 else ()),
        MetadataEntry("split.no", "u16", number),
        MetadataEntry("split.count", "u16", count),
        MetadataEntry("split.tensors.count", "i32", tensors),
    )


def _file(tensors: list[TypedTensor], metadata: tuple[MetadataEntry, ...]) -> PlannedFile:
    header = writer.header(
        metadata, [(entry.tensor.name, entry.tensor.shape, entry.type, entry.size_bytes) for entry in tensors]
    )
    data_bytes = sum(writer.padded(entry.size_bytes) for entry in tensors)
    return PlannedFile(header, len(header) + data_bytes, len(tensors))
