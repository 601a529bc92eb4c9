"""A checkpoint folder, with adapters merged and known defects repaired, as the source of a conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.convert import repairs, writer
from phi4local.convert.architectures import read_architecture
from phi4local.convert.architectures.phi3 import GGUF_NAME
from phi4local.convert.checkpoint import open_checkpoint
from phi4local.convert.merge import merge, merged_entries
from phi4local.convert.metadata import general
from phi4local.convert.model_source import ModelSource, NamedTensor
from phi4local.convert.sources import match, place
from phi4local.convert.streamed import StreamedCheckpoint
from phi4local.convert.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.convert.architectures.phi3 import Phi3
    from phi4local.convert.checkpoint import Checkpoint
    from phi4local.convert.merge import AdapterUse
    from phi4local.convert.metadata import MetadataEntry


def read_checkpoint(
    location: Path | StreamedCheckpoint,
    *,
    name: str | None = None,
    adapters: Sequence[AdapterUse] = (),
    repair: bool = True,
) -> ModelSource:
    """Read all headers and small files of a checkpoint.

    Args:
        location: a folder with config.json, tokenizer.json and *.safetensors, or shards that arrive.
        name: what the output calls the model; by default the folder's name.
        adapters: LoRA adapters to merge, one after the other.
        repair: correct known defects of published checkpoints.

    Example: `read_checkpoint(Path("models/phi4-nano"))` has 51 tensors in 2 files.

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other.
        UnsupportedCheckpointError: another architecture or kind of vocabulary.
        UnknownTensorError: a tensor too many, too few, or of another shape.
        AdapterError: a bad adapter, or one that was made for another model.
        ConversionError: shards that arrive, and a tensor whose parts lie apart in them.
    """
    streamed = location if isinstance(location, StreamedCheckpoint) else None
    folder = location.folder if isinstance(location, StreamedCheckpoint) else location
    checkpoint, architecture = _open(open_checkpoint(folder, streamed), adapters)
    matched = match(architecture.tensors(), checkpoint)
    if streamed:
        for _, source in matched:
            place(source)
    vocabulary = read_vocabulary(checkpoint, vocabulary_tokens=architecture.vocabulary_tokens)
    model = repairs.named(name or folder.resolve().name, architecture, vocabulary)
    if repair:
        model = repairs.repaired(model, checkpoint.config)
    return ModelSource(
        path=folder,
        tensors=tuple(NamedTensor(tensor.name, tensor.shape, source) for tensor, source in matched),
        metadata=(*_metadata(model), *merged_entries(adapters)),
        files=tuple(shard for shard in checkpoint.shards if not (streamed and streamed.holds(shard.path))),
        layers=architecture.layers,
        heads_per_kv_head=architecture.heads // architecture.kv_heads,
        tied_embeddings=architecture.tied_embeddings,
        repairs=model.repairs,
        streamed=streamed,
    )


def _open(checkpoint: Checkpoint, adapters: Sequence[AdapterUse]) -> tuple[Checkpoint, Phi3]:
    config = checkpoint.folder / "config.json"
    architecture = read_architecture(checkpoint.config, config, checkpoint.tensors)
    if not adapters:
        return checkpoint, architecture
    merged = merge(checkpoint, architecture, adapters)
    # An adapter may bring an output matrix of its own to a model whose embedding was its output too.
    return merged, read_architecture(merged.config, config, merged.tensors)


def _metadata(model: repairs.Model) -> tuple[MetadataEntry, ...]:
    return (
        *general(GGUF_NAME, model.name, file_type=0, quantization_version=writer.quantization_version()),
        *model.architecture.metadata(),
        *model.vocabulary.metadata(),
        *model.metadata(),
    )
