"""What planning needs to know of a model: from a GGUF header, or from a manifest and a quantization alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from phi4local.native.ggml import row_size_bytes
from phi4local.planning.mixes import Mix, choose_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.catalog import Manifest

ALIGNMENT = 32
"""Every tensor begins at a multiple of it (gguf.md, general.alignment)."""
HEADER_BYTES_PER_TOKEN = 48
"""Of keys and vocabulary, with merges: 4.6 MB for the 100,352 tokens of a random model's file."""

_LONGROPE = {131_072: 4_096}
"""The family members with LongRoPE, by their context: they began with 4,096 tokens, all of them."""


class HeaderLike(Protocol):
    """A `gguf.Header`, of a file here or elsewhere."""

    @property
    def architecture(self) -> str | None:
        """`general.architecture`."""

    @property
    def tensors(self) -> Sequence[Any]:
        """Tensors with `name`, `shape` (row length first), `type.name`, `offset` and `size_bytes`."""

    @property
    def file_bytes(self) -> int:
        """Size of the file, of all its parts."""

    def get(self, key: str, default: object = None) -> object:
        """Return a value of the metadata."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor. Example: `Weight("blk.0.ffn_up.weight", "Q4_K", 5120, 35840, 103219200, 0)`."""

    name: str
    type_name: str
    columns: int
    rows: int
    size_bytes: int
    offset: int

    @property
    def layer(self) -> int | None:
        """The transformer block that it belongs to."""
        parts = self.name.split(".")
        return int(parts[1]) if parts[0] == "blk" and parts[1].isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The numbers of a model that memory and speed depend on.

    Attributes:
        short_context_tokens: with LongRoPE, the context up to which the short factors hold.
        weights: in the order of the file.
        file_bytes: size of the file, estimated to 0.1 % if there is none yet.

    Example: `manifest_shape(catalog.find("phi-4"), "Q4_K_M").file_bytes` is about 9.06e9.
    """

    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary_tokens: int
    context_tokens: int
    short_context_tokens: int | None
    weights: tuple[Weight, ...]
    file_bytes: int

    @property
    def head_length(self) -> int:
        """Numbers in one head: 128 for Phi-4."""
        return self.width // self.heads

    @property
    def tied_embeddings(self) -> bool:
        """Whether the embedding is the output matrix too."""
        return not any(weight.name == "output.weight" for weight in self.weights)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(weight.size_bytes for weight in self.weights)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.columns * weight.rows for weight in self.weights)


def model_shape(header: HeaderLike) -> ModelShape:
    """Read the shape of a header that `phi4local.gguf` accepted.

    Example: of phi4-nano's file 8 layers of width 256, 8 heads and 2 KV heads.
    """

    def number(key: str, default: int = 0) -> int:
        value: Any = header.get(f"{header.architecture}.{key}", default)
        return int(value)

    weights = tuple(
        Weight(t.name, t.type.name, t.shape[0], math.prod(t.shape[1:]), t.size_bytes, t.offset)
        for t in header.tensors
    )
    rows = {weight.name: weight.rows for weight in weights}
    long_factors = "rope_factors_long.weight" in rows
    return ModelShape(
        layers=number("block_count"),
        width=number("embedding_length"),
        feed_forward=number("feed_forward_length"),
        heads=number("attention.head_count"),
        kv_heads=number("attention.head_count_kv", number("attention.head_count")),
        vocabulary_tokens=rows.get("token_embd.weight", 0),
        context_tokens=number("context_length"),
        short_context_tokens=number("rope.scaling.original_context_length") or None if long_factors else None,
        weights=weights,
        file_bytes=header.file_bytes,
    )


def manifest_shape(manifest: Manifest, quantization: str, *, importance: bool = False) -> ModelShape:
    """Return what a family member will be as a GGUF of a quantization; no file is needed.

    Args:
        manifest: the family member.
        quantization: a name of `planning.mixes`, such as `Q4_K_M`.
        importance: whether an importance matrix is used; some mixes ask for it.

    Raises:
        KeyError: no such quantization.
    """
    model = manifest.architecture
    shapes = tuple(_tensors(manifest))
    mix = Mix(
        quantization=quantization,
        layers=model.layers,
        heads_per_kv_head=model.heads // model.kv_heads,
        tied_embeddings=model.tied_embeddings,
        importance=importance,
    )
    types = choose_types(shapes, mix)
    weights, offset = [], 0
    for name, shape in shapes:
        rows, columns = (1, *shape)[-2:]
        size = rows * row_size_bytes(types[name], columns)
        weights.append(Weight(name, types[name], columns, rows, size, offset))
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    return ModelShape(
        layers=model.layers,
        width=model.embedding_length,
        feed_forward=model.feed_forward_length,
        heads=model.heads,
        kv_heads=model.kv_heads,
        vocabulary_tokens=manifest.vocabulary_tokens,
        context_tokens=model.context_tokens,
        short_context_tokens=_LONGROPE.get(model.context_tokens),
        weights=tuple(weights),
        file_bytes=offset + HEADER_BYTES_PER_TOKEN * manifest.vocabulary_tokens,
    )


def _tensors(manifest: Manifest) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield names and shapes, (rows, columns), in llama-quantize's order."""
    model, words = manifest.architecture, manifest.vocabulary_tokens
    width = model.embedding_length
    yield "token_embd.weight", (words, width)
    yield "output_norm.weight", (width,)
    if not model.tied_embeddings:
        yield "output.weight", (words, width)
    joint = width + 2 * model.kv_heads * (width // model.heads)
    for layer in range(model.layers):
        block = f"blk.{layer}."
        yield block + "attn_norm.weight", (width,)
        yield block + "attn_qkv.weight", (joint, width)
        yield block + "attn_output.weight", (width, width)
        yield block + "ffn_norm.weight", (width,)
        yield block + "ffn_up.weight", (2 * model.feed_forward_length, width)
        yield block + "ffn_down.weight", (width, model.feed_forward_length)
