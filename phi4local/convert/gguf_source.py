"""A GGUF file, or several that were split, as the source of a conversion.

Keys are carried over; F32, F16, BF16 and Q8_0 tensors can become anything, others stay as they are.
Source: `llama_model_quantize_impl` in src/llama-quant.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local import gguf
from phi4local.convert.metadata import MetadataEntry
from phi4local.convert.model_source import ModelSource, NamedTensor
from phi4local.convert.safetensors import SourceTensor
from phi4local.errors import GGUFError

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = re.compile(r"blk\.(\d+)\.")
_OF_A_PART = ("split.no", "split.count", "split.tensors.count")


@dataclass(frozen=True, slots=True)
class GGUFFile:
    """One file and its state when its header was read."""

    path: Path
    size_bytes: int
    modified_ns: int
    inode: int


def is_gguf(path: Path) -> bool:
    """Return whether `path` is a file that is called or begins like a GGUF file."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return path.suffix.lower() == ".gguf" or file.read(4) == b"GGUF"
    except (OSError, ValueError):
        return False


def read_gguf(path: Path) -> ModelSource:
    """Read all headers of the GGUF model at `path`, which may be the first of several parts.

    Example: `read_gguf(Path("phi-4-F16.gguf"))` has 243 tensors; the first is `output.weight`.

    Raises:
        GGUFError: damaged, incomplete, or no Phi-4 model.
    """
    header = gguf.validate(path)
    parts = header.parts or (header,)
    tensors = [_named(tensor, part) for part in parts for tensor in part.tensors]
    metadata = tuple(
        MetadataEntry(key, header.value_types[key], _value(value))
        for key, value in header.metadata.items()
        if key not in _OF_A_PART and key != "general.alignment"
    )
    heads = _whole(header, "attention.head_count")
    return ModelSource(
        path=path,
        tensors=tuple(sorted(tensors, key=_order)),
        metadata=metadata,
        files=tuple(_file(part) for part in parts),
        layers=_whole(header, "block_count"),
        heads_per_kv_head=heads // _whole(header, "attention.head_count_kv", heads),
        tied_embeddings=all(tensor.name != "output.weight" for tensor in tensors),
    )


def _named(tensor: gguf.TensorInfo, part: gguf.Header) -> NamedTensor:
    shape = tuple(reversed(tensor.shape))
    source = SourceTensor(
        tensor.name, tensor.type.name, shape, part.path, part.data_offset + tensor.offset, tensor.size_bytes
    )
    return NamedTensor(tensor.name, shape, source)


def _order(tensor: NamedTensor) -> tuple[int, str]:
    """llama-quantize's order, `weight_name_comparer` in src/llama-model-loader.h."""
    block = _BLOCK.match(tensor.name)
    return (int(block[1]) if block else -1, tensor.name)


def _value(value: object) -> Any:  # noqa: ANN401 - the reader checked it
    return value


def _whole(header: gguf.Header, key: str, default: int = 0) -> int:
    value = header.get(f"{header.architecture}.{key}", default)
    return value if isinstance(value, int) else default


def _file(part: gguf.Header) -> GGUFFile:
    try:
        state = part.path.stat()
        return GGUFFile(part.path, part.file_bytes, state.st_mtime_ns, state.st_ino)
    except OSError as error:
        raise GGUFError(part.path, f"cannot be read: {error.strerror or error}") from error
