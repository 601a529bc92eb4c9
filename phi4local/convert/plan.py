"""Everything about a conversion before any weight is read: names, shapes, types, offsets, metadata, size."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from phi4local.convert import gguf_source, typing_rules, writer
from phi4local.convert.checkpoint_source import read_checkpoint
from phi4local.convert.layout import PlannedFile, lay_out, split_path
from phi4local.convert.metadata import MetadataEntry
from phi4local.convert.streamed import StreamedCheckpoint
from phi4local.convert.strict_json import shown
from phi4local.convert.typing_rules import TargetOptions
from phi4local.errors import AdapterError, InvalidSettingError, UnknownQuantizationError
from phi4local.planning.mixes import QUANTIZATIONS
from phi4local.planning.recipes import TERNARY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy import float32
    from numpy.typing import NDArray

    from phi4local.convert.merge import AdapterUse
    from phi4local.convert.model_source import ModelSource
    from phi4local.convert.sources import Source


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the output.

    Attributes:
        name: GGUF name, such as `blk.0.attn_qkv.weight`.
        shape: (rows, elements of a row), or (elements,) of a norm.
        type: what it is stored as, such as `Q4_K`.
        offset: first byte, counted from its file's `data_offset`.
        size_bytes: number of bytes, without the padding behind it.
        source: the tensor or tensors that it comes from: name, type, file and place; or numbers of
            config.json.
        file: number of its file in the plan.
        column_weights: float32 of (elements of a row,) from an importance matrix, or `None`.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    offset: int
    size_bytes: int
    source: Source
    file: int = 0
    column_weights: NDArray[float32] | None = field(default=None, repr=False, compare=False)

    @property
    def elements(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionPlan:
    """What a conversion will write, known from the headers alone.

    Attributes:
        source: what is converted.
        quantization: one of `QUANTIZATIONS`, or a ternary one that was asked for.
        tensors: in the order of the output.
        metadata: in the order of the output.
        files: of the output; one, unless it is split.
        unweighted: tensors that the importance matrix could have improved and has no entry for.
    """

    source: ModelSource
    quantization: str
    tensors: tuple[PlannedTensor, ...]
    metadata: tuple[MetadataEntry, ...] = field(repr=False)
    files: tuple[PlannedFile, ...]
    unweighted: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return the model's name, as the file will carry it."""
        return next((str(entry.value) for entry in self.metadata if entry.key == "general.name"), "model")

    @property
    def repairs(self) -> tuple[str, ...]:
        """Return one line for each known defect that is corrected."""
        return self.source.repairs

    @property
    def size_bytes(self) -> int:
        """Return the size of all files together."""
        return sum(file.size_bytes for file in self.files)

    @property
    def parameters(self) -> int:
        """Return the number of weights, LongRoPE's tables not counted. Example: Phi-4 has 14,659,507,200."""
        return sum(tensor.elements for tensor in self.tensors if not tensor.name.startswith("rope_factors"))

    @property
    def tensor_types(self) -> dict[str, int]:
        """Return the number of tensors of each type. Example: `{"Q4_K": 121, "F32": 81, "Q6_K": 41}`."""
        return dict(Counter(tensor.type for tensor in self.tensors).most_common())

    @property
    def bits_per_weight(self) -> float:
        """Return the average number of stored bits. Example: Phi-4 in Q4_K_M has 4.94."""
        return sum(tensor.size_bytes for tensor in self.tensors) * 8 / self.parameters

    def paths(self, output: Path) -> tuple[Path, ...]:
        """Return the names of the files, such as `phi-4-00001-of-00002.gguf` of `phi-4.gguf` in two parts."""
        return tuple(split_path(output, number, len(self.files)) for number in range(len(self.files)))

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.tensor_types.items())
        return (
            f"{self.name} as {self.quantization}: {self.parameters:,} weights in {len(self.tensors)} tensors "
            f"({counts}), {self.bits_per_weight:.2f} bits a weight, {self.size_bytes:,} bytes"
        )


def plan_conversion(
    checkpoint: Path | StreamedCheckpoint,
    quantization: str,
    *,
    name: str | None = None,
    options: TargetOptions | None = None,
    adapters: Sequence[AdapterUse] = (),
    repair: bool = True,
) -> ConversionPlan:
    """Say what converting `checkpoint` would write. Only headers and small files are read.

    Args:
        checkpoint: a folder with config.json, tokenizer.json and *.safetensors, or a GGUF file.
        quantization: one of `QUANTIZATIONS`, in upper or lower case.
        name: what the file calls the model; by default the folder's name.
        options: types, importance matrix, size of parts.
        adapters: LoRA adapters to merge, one after the other.
        repair: correct known defects of published checkpoints.

    Example: `plan_conversion(Path("models/phi4-nano"), "q8_0")` has 51 tensors, 17 F32 and 34 Q8_0.

    Raises:
        UnknownQuantizationError: another quantization; the error lists near names.
        CheckpointError: files that are missing, damaged or contradict each other.
        UnsupportedCheckpointError: another architecture or kind of vocabulary.
        UnknownTensorError: a tensor too many, too few, or of another shape.
        MissingImatrixError: the quantization needs an importance matrix.
        FileFormatError, InvalidSettingError: a matrix or options that do not fit the model.
        AdapterError: a bad adapter, or one that was made for another model.
    """
    return plan_conversions(
        checkpoint, (quantization,), name=name, options=options, adapters=adapters, repair=repair
    )[0]


def plan_conversions(
    checkpoint: Path | StreamedCheckpoint,
    quantizations: Sequence[str],
    *,
    name: str | None = None,
    options: TargetOptions | None = None,
    adapters: Sequence[AdapterUse] = (),
    repair: bool = True,
) -> tuple[ConversionPlan, ...]:
    """Say what converting `checkpoint` to several quantizations at once would write.

    Example: `plan_conversions(Path("models/phi4-nano"), ("Q4_K_M", "Q8_0"))` has two plans of one source.

    Raises:
        As `plan_conversion`; InvalidSettingError: a quantization twice.
    """
    options = options or TargetOptions()
    wanted = tuple(map(quantization_named, quantizations))
    if len(set(wanted)) != len(wanted):
        raise InvalidSettingError("quantization", f"names one twice: {', '.join(wanted)}")
    source = read_source(checkpoint, name=name, adapters=adapters, repair=repair)
    types = typing_rules.Rules(source, options)
    return tuple(_plan(source, quantization, types, options) for quantization in wanted)


def quantization_named(name: str) -> str:
    """Return the quantization's name as it is written here.

    Example: `quantization_named("q4_k_m")` → `"Q4_K_M"`.

    Raises:
        UnknownQuantizationError: there is none; the error lists near names.
    """
    upper = name.upper()
    if upper in QUANTIZATIONS or upper in TERNARY:
        return upper
    near = difflib.get_close_matches(upper, QUANTIZATIONS, n=3, cutoff=0.5)
    raise UnknownQuantizationError(shown(name), near, QUANTIZATIONS)


def read_source(
    path: Path | StreamedCheckpoint,
    *,
    name: str | None = None,
    adapters: Sequence[AdapterUse] = (),
    repair: bool = True,
) -> ModelSource:
    """Read all headers of a checkpoint folder, of shards that arrive, or of a GGUF file.

    Raises:
        As `plan_conversion`.
    """
    if isinstance(path, StreamedCheckpoint) or not gguf_source.is_gguf(path):
        return read_checkpoint(path, name=name, adapters=adapters, repair=repair)
    if adapters:
        raise AdapterError(
            path,
            "is a GGUF file; adapters are merged into a checkpoint",
            hint="give the folder of safetensors that the GGUF file was made from",
        )
    return gguf_source.read_gguf(path)


def _plan(
    source: ModelSource, quantization: str, rules: typing_rules.Rules, options: TargetOptions
) -> ConversionPlan:
    typed = rules.apply(quantization)
    metadata = (*_with_file_type(source.metadata, quantization), *rules.metadata())
    files, places = lay_out(typed, metadata, split_bytes=options.split_bytes)
    tensors = tuple(
        PlannedTensor(
            entry.tensor.name,
            entry.tensor.shape,
            entry.type,
            offset,
            entry.size_bytes,
            entry.tensor.source,
            file,
            entry.column_weights,
        )
        for entry, (file, offset) in zip(typed, places, strict=True)
    )
    return ConversionPlan(
        source=source,
        quantization=quantization,
        tensors=tensors,
        metadata=metadata,
        files=files,
        unweighted=rules.unweighted(typed),
    )


def _with_file_type(metadata: tuple[MetadataEntry, ...], quantization: str) -> tuple[MetadataEntry, ...]:
    """Set the two keys that depend on the quantization, where they stand."""
    numbers = {
        "general.quantization_version": writer.quantization_version(),
        "general.file_type": writer.file_type(quantization),
    }
    placed = [
        replace(entry, type="u32", value=numbers[entry.key]) if entry.key in numbers else entry
        for entry in metadata
    ]
    missing = numbers.keys() - {entry.key for entry in metadata}
    return (*placed, *(MetadataEntry(key, "u32", numbers[key]) for key in numbers if key in missing))
