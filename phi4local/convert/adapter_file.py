"""Write a PEFT LoRA adapter as a GGUF file that llama.cpp applies while it computes.

llama.cpp adds `s · B (A x)` to a matrix' product, with s = alpha / rank unless alpha is 0. PEFT has other
scales too (rsLoRA, ranks and alphas of single modules), so the scale is multiplied into B and alpha is 0:
every variant computes what PEFT computes. Modules of a llamafied model that a phi3 file keeps in one matrix
become one pair: the rows of A below each other, and B block by block, so that each gets its own product.

Source: src/llama-adapter.cpp and convert_lora_to_gguf.py of llama.cpp 0c1e57098; peft 0.21.2,
tuners/lora/layer.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phi4local import files
from phi4local.convert.adapters import LowRank, read_adapter
from phi4local.convert.architectures.phi3 import GGUF_NAME
from phi4local.convert.metadata import MetadataEntry, model_name
from phi4local.convert.quantizer import widen
from phi4local.convert.rows import SourceReader
from phi4local.convert.strict_json import shown
from phi4local.convert.writer import header, padded
from phi4local.errors import AdapterError, InvalidSettingError
from phi4local.native.ggml import quantize_rows, row_size_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phi4local.convert.adapter_base import AdapterBase, Place
    from phi4local.convert.adapters import Adapter
    from phi4local.convert.safetensors import SourceTensor

ADAPTER_TYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSummary:
    """What was written.

    Attributes:
        output: the file.
        size_bytes: its size.
        type: of its tensors.
        matrices: how many matrices of the model it changes.
        largest_rank: of one pair in the file; three modules of rank 8 in one matrix make 24.
        parameters: number of trained weights.
    """

    output: Path
    size_bytes: int
    type: str
    matrices: int
    largest_rank: int
    parameters: int


def convert_adapter(
    folder: Path, base: AdapterBase, output: Path, *, type_name: str = "F32", overwrite: bool = False
) -> AdapterSummary:
    """Write the adapter in `folder` to the GGUF file `output`.

    Args:
        folder: as PEFT saves it: adapter_config.json and adapter_model.safetensors.
        base: the model that it was made for.
        output: the final name; it appears when the file is complete.
        type_name: of the stored numbers, one of `ADAPTER_TYPES`.
        overwrite: replace an existing file.

    Example: rank 8 on all linear modules of a llamafied phi4-nano makes 32 pairs, `attn_qkv` with rank 24.

    Raises:
        AdapterError: no adapter, a damaged one, one for another model, or one that a GGUF file cannot hold:
            DoRA and `modules_to_save` have to be merged.
        CheckpointError: its weights cannot be read.
        FileWriteError: the file cannot be written.
        InvalidSettingError: an unknown type.
    """
    if type_name not in ADAPTER_TYPES:
        raise InvalidSettingError("type", f"is {type_name!r}; it must be one of {', '.join(ADAPTER_TYPES)}")
    adapter = read_adapter(folder)
    pairs = _pairs(adapter, base)
    shapes = [(f"{pair.tensor}.lora_{half}", shape) for pair in pairs for half, shape in pair.shapes()]
    sizes = [rows * row_size_bytes(type_name, columns) for _, (rows, columns) in shapes]
    table = [(name, shape, type_name, size) for (name, shape), size in zip(shapes, sizes, strict=True)]
    beginning = header(_metadata(folder), table)
    total = len(beginning) + sum(map(padded, sizes))
    with SourceReader() as reader, files.new_file(output, overwrite=overwrite, size_bytes=total) as file:
        file.write(beginning)
        for pair in pairs:
            for matrix in pair.matrices(reader):
                stored = _stored(matrix, type_name, pair, folder)
                file.write(stored)
                file.write(bytes(padded(len(stored)) - len(stored)))
    return AdapterSummary(
        output=output,
        size_bytes=total,
        type=type_name,
        matrices=len(pairs),
        largest_rank=max(pair.rank for pair in pairs),
        parameters=sum(low.rank * sum(low.shape) for low in adapter.low_rank.values()),
    )


@dataclass(frozen=True, slots=True)
class _Pair:
    """The modules that change one matrix of the file, from its first rows to its last."""

    tensor: str
    modules: Sequence[tuple[Place, LowRank]]

    @property
    def rank(self) -> int:
        return sum(low.rank for _, low in self.modules)

    @property
    def looked_up(self) -> bool:
        """The embedding: its rows are taken, not multiplied, so both halves lie the other way round."""
        return self.modules[0][1].embedding

    def shapes(self) -> tuple[tuple[str, tuple[int, int]], ...]:
        place = self.modules[0][0]
        if self.looked_up:
            return ("a", (place.all_rows, self.rank)), ("b", (place.columns, self.rank))
        return ("a", (self.rank, place.columns)), ("b", (place.all_rows, self.rank))

    def matrices(self, reader: SourceReader) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return A and B, with the scales in B."""
        halves = [(_numbers(low, low.a, reader), _numbers(low, low.b, reader)) for _, low in self.modules]
        if self.looked_up:
            (a, b), low = halves[0], self.modules[0][1]
            return np.ascontiguousarray(a.T), _scaled(b, low)
        second = np.zeros((self.modules[0][0].all_rows, self.rank), np.float32)
        column = 0
        for (place, low), (_, b) in zip(self.modules, halves, strict=True):
            rows = slice(place.first_row, place.first_row + place.rows)
            second[rows, column : column + low.rank] = _scaled(b, low)
            column += low.rank
        return np.concatenate([a for a, _ in halves]), second


def _pairs(adapter: Adapter, base: AdapterBase) -> list[_Pair]:
    merge = f"merge it instead: `phi4local convert CHECKPOINT --merge {adapter.folder}`"
    if adapter.replaced:
        name = min(adapter.replaced)
        raise AdapterError(
            adapter.folder,
            f"replaces the whole tensor `{shown(name)}`, which no GGUF adapter can",
            hint=merge,
        )
    found: dict[str, list[tuple[Place, LowRank]]] = {}
    for low in adapter.low_rank.values():
        if low.magnitude is not None:
            raise AdapterError(
                adapter.folder, "is of the kind DoRA, which llama.cpp cannot apply", hint=merge
            )
        place = base.place(low.module)
        if place is None or low.embedding != (place.tensor == "token_embd.weight"):
            raise AdapterError(
                adapter.folder,
                f"changes `{shown(low.module)}`, which the model does not have",
                hint="name the model that it was trained on with `--base`",
            )
        if low.shape != (place.rows, place.columns):
            raise AdapterError(
                adapter.folder,
                f"module `{shown(low.module)}` is for a matrix of {low.shape}, "
                f"the model's is {(place.rows, place.columns)}",
                hint="name the model that it was trained on with `--base`",
            )
        found.setdefault(place.tensor, []).append((place, low))
    return [_Pair(name, sorted(found[name], key=_first_row)) for name in sorted(found, key=_in_file_order)]


def _first_row(module: tuple[Place, LowRank]) -> tuple[int, int]:
    return module[0].first_row, module[0].rows


def _in_file_order(name: str) -> tuple[int, str]:
    parts = name.split(".")
    return (int(parts[1]), name) if parts[0] == "blk" else (-1, name)


def _metadata(folder: Path) -> tuple[MetadataEntry, ...]:
    """Return the keys of an adapter; a model's own keys do not stand in it."""
    return (
        MetadataEntry("general.architecture", "str", GGUF_NAME),
        MetadataEntry("general.type", "str", "adapter"),
        MetadataEntry("general.name", "str", model_name(folder.resolve().name)),
        MetadataEntry("adapter.type", "str", "lora"),
        MetadataEntry("adapter.lora.alpha", "f32", 0.0),
    )


def _numbers(low: LowRank, tensor: SourceTensor, reader: SourceReader) -> NDArray[np.float32]:
    rows = math.prod(tensor.shape[:-1])
    values = widen(reader.read(tensor, first=0, count=rows), tensor.dtype).reshape(tensor.shape)
    if not np.isfinite(values).all():
        raise AdapterError(tensor.shard.parent, f"module `{shown(low.module)}` holds NaN or infinity")
    return values


def _scaled(b: NDArray[np.float32], low: LowRank) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # refused when it is stored
        return b * np.float32(low.scale)


def _stored(matrix: NDArray[np.float32], type_name: str, pair: _Pair, folder: Path) -> bytes:
    largest = np.abs(matrix).max(initial=0)
    if not np.isfinite(largest) or (type_name == "F16" and largest > np.finfo(np.float16).max):
        raise AdapterError(folder, f"`{pair.tensor}` has numbers beyond {type_name}", hint="use `--type F32`")
    return quantize_rows(type_name, np.ascontiguousarray(matrix)).tobytes()
