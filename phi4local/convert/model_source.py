"""What is converted, the same for a checkpoint and for a GGUF file: tensors in order, metadata, files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.convert.metadata import MetadataEntry
    from phi4local.convert.sources import Source
    from phi4local.convert.streamed import StreamedCheckpoint


class SourceFile(Protocol):
    """A file that is read, and its state when its header was read."""

    @property
    def path(self) -> Path:
        """Where it is."""

    @property
    def size_bytes(self) -> int:
        """Return its size."""

    @property
    def modified_ns(self) -> int:
        """Return its time of last change, in nanoseconds."""

    @property
    def inode(self) -> int:
        """Return its number on its disk."""


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """A tensor under its GGUF name, and where its weights come from.

    `shape` is (rows, elements of a row), or (elements,) of a norm.
    """

    name: str
    shape: tuple[int, ...]
    source: Source

    @property
    def elements(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model that can be converted.

    Attributes:
        path: the checkpoint folder, or the GGUF file.
        tensors: in llama-quantize's order: without a layer first, then layer by layer, each by name.
        metadata: of the output; `general.file_type` and `general.quantization_version` are set later.
        files: what is read here.
        layers: transformer blocks.
        heads_per_kv_head: asking heads that share keys and values.
        tied_embeddings: the embedding is the output matrix too.
        repairs: one line for each known defect that is corrected.
        streamed: the shards that are read while they arrive, or `None`.
    """

    path: Path
    tensors: tuple[NamedTensor, ...]
    metadata: tuple[MetadataEntry, ...] = field(repr=False)
    files: tuple[SourceFile, ...] = field(repr=False)
    layers: int
    heads_per_kv_head: int
    tied_embeddings: bool
    repairs: tuple[str, ...] = ()
    streamed: StreamedCheckpoint | None = field(default=None, repr=False)
