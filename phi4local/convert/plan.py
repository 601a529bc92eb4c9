"""Everything about a conversion before any weight is read: names, shapes, types, offsets, metadata, size."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from phi4local.convert import repairs, writer
from phi4local.convert.architectures import read_architecture
from phi4local.convert.architectures.phi3 import GGUF_NAME, Phi3
from phi4local.convert.checkpoint import Checkpoint, open_checkpoint
from phi4local.convert.merge import AdapterUse, merge, merged_entries
from phi4local.convert.metadata import MetadataEntry, general
from phi4local.convert.sources import ConfigTensor, match
from phi4local.convert.strict_json import shown
from phi4local.convert.vocabulary import read_vocabulary
from phi4local.errors import UnknownQuantizationError
from phi4local.native.ggml import row_size_bytes
from phi4local.planning.mixes import QUANTIZATIONS, Mix, tensor_type

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.convert.architectures.tensors import ExpectedTensor
    from phi4local.convert.sources import Source


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the output.

    Attributes:
        name: GGUF name, such as `blk.0.attn_qkv.weight`.
        shape: (rows, elements of a row), or (elements,) of a norm.
        type: what it is stored as, such as `Q4_K`.
        offset: first byte, counted from the plan's `data_offset`.
        size_bytes: number of bytes, without the padding behind it.
        source: the checkpoint's tensor or tensors: name, type, shard and place; or numbers of config.json.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size_bytes: int
    source: Source

    @property
    def elements(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """What a conversion will write, known from the headers alone.

    Attributes:
        source: the checkpoint folder.
        quantization: one of `QUANTIZATIONS`.
        architecture: the model's numbers.
        tensors: in the order of the file.
        metadata: in the order of the file.
        repairs: one line for each known defect that is corrected.
        data_offset: where the first tensor begins.
        size_bytes: size of the file.
        checkpoint: the checked folder.
        header: the first `data_offset` bytes of the file.
    """

    source: Path
    quantization: str
    architecture: Phi3
    tensors: tuple[PlannedTensor, ...]
    metadata: tuple[MetadataEntry, ...] = field(repr=False)
    repairs: tuple[str, ...]
    data_offset: int
    size_bytes: int
    checkpoint: Checkpoint = field(repr=False)
    header: bytes = field(repr=False)

    @property
    def name(self) -> str:
        """Return the model's name, as the file will carry it."""
        return next(str(entry.value) for entry in self.metadata if entry.key == "general.name")

    @property
    def parameters(self) -> int:
        """Return the number of weights, LongRoPE's tables not counted. Example: Phi-4 has 14,659,507,200."""
        return sum(t.elements for t in self.tensors if not isinstance(t.source, ConfigTensor))

    @property
    def tensor_types(self) -> dict[str, int]:
        """Return the number of tensors of each type. Example: `{"Q4_K": 121, "F32": 81, "Q6_K": 41}`."""
        return dict(Counter(tensor.type for tensor in self.tensors).most_common())

    @property
    def bits_per_weight(self) -> float:
        """Return the average number of stored bits. Example: Phi-4 in Q4_K_M has 4.94."""
        return sum(tensor.size_bytes for tensor in self.tensors) * 8 / self.parameters

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.tensor_types.items())
        return (
            f"{self.name} as {self.quantization}: {self.parameters:,} weights in {len(self.tensors)} tensors "
            f"({counts}), {self.bits_per_weight:.2f} bits a weight, {self.size_bytes:,} bytes"
        )


def plan_conversion(
    checkpoint: Path,
    quantization: str,
    *,
    name: str | None = None,
    adapters: Sequence[AdapterUse] = (),
    repair: bool = True,
) -> ConversionPlan:
    """Say what converting `checkpoint` would write. Only headers and small files are read.

    Args:
        checkpoint: a folder with config.json, tokenizer.json and *.safetensors.
        quantization: one of `QUANTIZATIONS`, in upper or lower case.
        name: what the file calls the model; by default the folder's name.
        adapters: LoRA adapters to merge, one after the other.
        repair: correct known defects of published checkpoints.

    Example: `plan_conversion(Path("models/phi4-nano"), "q8_0")` has 51 tensors, 17 F32 and 34 Q8_0.

    Raises:
        UnknownQuantizationError: another quantization; the error lists near names.
        CheckpointError: files that are missing, damaged or contradict each other.
        UnsupportedCheckpointError: another architecture or kind of vocabulary.
        UnknownTensorError: a tensor too many, too few, or of another shape.
        AdapterError: a bad adapter, or one that was made for another model.
    """
    quantization = quantization_named(quantization)
    source, architecture = _open(checkpoint, adapters)
    matched = match(architecture.tensors(), source)
    vocabulary = read_vocabulary(source, vocabulary_tokens=architecture.vocabulary_tokens)
    model = repairs.named(name or checkpoint.resolve().name, architecture, vocabulary)
    if repair:
        model = repairs.repaired(model, source.config)
    tensors = _place(matched, architecture, quantization)
    metadata = (*_metadata(model, quantization), *merged_entries(adapters))
    header = writer.header(metadata, [(t.name, t.shape, t.type, t.size_bytes) for t in tensors])
    last = tensors[-1]
    return ConversionPlan(
        source=checkpoint,
        quantization=quantization,
        architecture=model.architecture,
        tensors=tensors,
        metadata=metadata,
        repairs=model.repairs,
        data_offset=len(header),
        size_bytes=len(header) + writer.padded(last.offset + last.size_bytes),
        checkpoint=source,
        header=header,
    )


def _open(folder: Path, adapters: Sequence[AdapterUse]) -> tuple[Checkpoint, Phi3]:
    checkpoint = open_checkpoint(folder)
    architecture = read_architecture(checkpoint.config, folder / "config.json", checkpoint.tensors)
    if not adapters:
        return checkpoint, architecture
    merged = merge(checkpoint, architecture, adapters)
    # An adapter may bring an output matrix of its own to a model whose embedding was its output too.
    return merged, read_architecture(merged.config, folder / "config.json", merged.tensors)


def _metadata(model: repairs.Model, quantization: str) -> tuple[MetadataEntry, ...]:
    return (
        *general(
            GGUF_NAME,
            model.name,
            file_type=writer.file_type(quantization),
            quantization_version=writer.quantization_version(),
        ),
        *model.architecture.metadata(),
        *model.vocabulary.metadata(),
        *model.metadata(),
    )


def quantization_named(name: str) -> str:
    """Return the quantization's name as it is written here.

    Example: `quantization_named("q4_k_m")` → `"Q4_K_M"`.

    Raises:
        UnknownQuantizationError: there is none; the error lists near names.
    """
    upper = name.upper()
    if upper in QUANTIZATIONS:
        return upper
    near = difflib.get_close_matches(upper, QUANTIZATIONS, n=3, cutoff=0.5)
    raise UnknownQuantizationError(shown(name), near, QUANTIZATIONS)


def _place(
    matched: list[tuple[ExpectedTensor, Source]],
    architecture: Phi3,
    quantization: str,
) -> tuple[PlannedTensor, ...]:
    mix = Mix(
        quantization=quantization, layers=architecture.layers, tied_embeddings=architecture.tied_embeddings
    )
    placed: list[PlannedTensor] = []
    offset = 0
    for tensor, source in matched:
        target = tensor_type(tensor.name, tensor.shape, mix)
        size_bytes = math.prod(tensor.shape[:-1]) * row_size_bytes(target, tensor.shape[-1])
        placed.append(PlannedTensor(tensor.name, tensor.shape, target, offset, size_bytes, source))
        offset = writer.padded(offset + size_bytes)
    return tuple(placed)
