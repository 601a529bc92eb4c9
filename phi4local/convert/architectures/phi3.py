"""The network of Phi-3 and Phi-4, GGUF architecture `phi3`, in Phi3ForCausalLM's layout or Llama's.

Tensors are renamed; the fused `qkv_proj` (rows q, k, v) and `gate_up_proj` (rows gate, up) stay fused, and
what the Llama layout keeps apart is put together again.
Source: conversion/phi.py and gguf-py/gguf/tensor_mapping.py of llama.cpp 0c1e57098, src/models/phi3.cpp for
what the runtime needs; configuration_phi3.py of transformers 5.23.0 for the fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.convert.architectures.config import Fields
from phi4local.convert.architectures.rope import LongRope, read_long_rope
from phi4local.convert.architectures.tensors import FUSED, ExpectedTensor, Layout, Part, Widths, layer_tensors
from phi4local.convert.metadata import MetadataEntry

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

GGUF_NAME = "phi3"
_OUTPUT = "lm_head.weight"
MAXIMUM_LAYERS = 512  # LLAMA_MAX_LAYERS in src/llama-hparams.h; more aborts llama.cpp


@dataclass(frozen=True, slots=True, kw_only=True)
class Phi3:
    """The numbers of one model.

    Attributes:
        layers: transformer blocks.
        embedding_length: width of the residual stream, in elements.
        feed_forward_length: width inside the feed-forward part; `gate_up_proj` has twice as many rows.
        heads: attention heads that ask.
        kv_heads: attention heads that are kept; each serves `heads / kv_heads` asking ones.
        vocabulary_tokens: rows of the embedding.
        context_tokens: longest sequence that the model was trained for.
        original_context_tokens: the same before any extension of the context.
        rms_norm_epsilon: added to the mean square before the root.
        rope_theta: base of the rotary frequencies.
        rope_dimensions: rotated elements of a head, an even number.
        sliding_window_tokens: attention span, 0 for all. llama.cpp ignores it for this architecture.
        tied_embeddings: the embedding is the output matrix too.
        long_rope: tables for contexts beyond the original one, or `None`.
        layout: which matrices the checkpoint keeps apart.
    """

    layers: int
    embedding_length: int
    feed_forward_length: int
    heads: int
    kv_heads: int
    vocabulary_tokens: int
    context_tokens: int
    original_context_tokens: int
    rms_norm_epsilon: float
    rope_theta: float
    rope_dimensions: int
    sliding_window_tokens: int
    tied_embeddings: bool
    long_rope: LongRope | None = None
    layout: Layout = FUSED

    @classmethod
    def from_config(cls, config: dict[str, Any], path: Path, tensors: Collection[str] = ()) -> Phi3:
        """Read and check the numbers in `config`; `path` is named in messages.

        A model with tied embeddings whose checkpoint has an output matrix of its own keeps both, as
        transformers and llama.cpp's converter do.

        Example: Phi-4's config.json → 40 layers of width 5,120, 40 heads over 10, 128 rotated elements.

        Args:
            config: what config.json holds.
            path: config.json, for messages.
            tensors: the names of the checkpoint's tensors.

        Raises:
            CheckpointError: a number that is missing or impossible.
            UnsupportedCheckpointError: a feature that is not converted, such as biases.
        """
        fields = Fields(config, path)
        _refuse_unsupported(fields)
        width, heads = fields.whole("hidden_size"), fields.whole("num_attention_heads")
        kv_heads = fields.whole("num_key_value_heads", default=heads)
        fields.require(width % heads == 0, "hidden_size is no multiple of num_attention_heads")
        fields.require(heads % kv_heads == 0, "num_attention_heads is no multiple of num_key_value_heads")
        head_length = width // heads
        fields.require(
            fields.whole("head_dim", default=head_length) == head_length,
            "head_dim is not hidden_size / num_attention_heads",
        )
        context = fields.whole("max_position_embeddings")
        rope_dimensions = _rope_dimensions(fields, head_length)
        return cls(
            layers=fields.whole("num_hidden_layers", most=MAXIMUM_LAYERS),
            embedding_length=width,
            feed_forward_length=fields.whole("intermediate_size"),
            heads=heads,
            kv_heads=kv_heads,
            vocabulary_tokens=fields.whole("vocab_size", least=2),
            context_tokens=context,
            original_context_tokens=fields.whole("original_max_position_embeddings", default=context),
            rms_norm_epsilon=fields.positive("rms_norm_eps"),
            rope_theta=fields.positive("rope_theta"),
            rope_dimensions=rope_dimensions,
            sliding_window_tokens=fields.whole("sliding_window", default=0, least=0),
            tied_embeddings=fields.flag("tie_word_embeddings") and _OUTPUT not in tensors,
            long_rope=read_long_rope(fields, rope_dimensions),
            layout=Layout.of(tensors),
        )

    @property
    def widths(self) -> Widths:
        """Return the lengths that the matrices of a layer are made of."""
        keys = self.kv_heads * (self.embedding_length // self.heads)
        return Widths(self.embedding_length, keys, self.feed_forward_length)

    def metadata(self) -> tuple[MetadataEntry, ...]:
        """Return the `phi3.*` keys.

        Example: Phi-4 → `phi3.block_count` 40, `phi3.attention.sliding_window` 0 (llama.cpp before May 2025
        refuses a file without it), `phi3.rope.freq_base` 250,000.
        """
        rows: tuple[tuple[str, int | float], ...] = (
            ("context_length", self.context_tokens),
            ("rope.scaling.original_context_length", self.original_context_tokens),
            ("embedding_length", self.embedding_length),
            ("feed_forward_length", self.feed_forward_length),
            ("block_count", self.layers),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.layer_norm_rms_epsilon", self.rms_norm_epsilon),
            ("rope.dimension_count", self.rope_dimensions),
            ("rope.freq_base", self.rope_theta),
            ("attention.sliding_window", self.sliding_window_tokens),
        )
        if self.long_rope is not None:
            rows += (("rope.scaling.attn_factor", self.long_rope.attention_factor),)
        return tuple(
            MetadataEntry(f"{GGUF_NAME}.{key}", "f32" if isinstance(value, float) else "u32", value)
            for key, value in rows
        )

    def tensors(self) -> tuple[ExpectedTensor, ...]:
        """Return every tensor of the model in the order of the GGUF file.

        The order is llama-quantize's: tensors without a layer first, then layer by layer, each by name
        (`weights_map` in src/llama-model-loader.h).

        Example: Phi-4 → 243 tensors; `blk.0.attn_qkv.weight` has (7680, 5120) rows and elements, because
        40 + 2 x 10 heads of 128 make 7,680.
        """
        width = self.embedding_length
        vocabulary = (self.vocabulary_tokens, width)
        outer = [ExpectedTensor("output_norm.weight", (width,), (Part("model.norm.weight", width),))]
        if not self.tied_embeddings:
            outer.insert(0, ExpectedTensor("output.weight", vocabulary, (Part(_OUTPUT, vocabulary[0]),)))
        if self.long_rope is not None:
            outer += [
                _rope_factors("long", self.long_rope.long_factors),
                _rope_factors("short", self.long_rope.short_factors),
            ]
        embedding = (Part("model.embed_tokens.weight", vocabulary[0]),)
        outer.append(ExpectedTensor("token_embd.weight", vocabulary, embedding))
        return (*outer, *layer_tensors(self.layout, self.widths, self.layers))


def _rope_factors(which: str, factors: tuple[float, ...]) -> ExpectedTensor:
    return ExpectedTensor(
        f"rope_factors_{which}.weight", (len(factors),), field=f"{which}_factor", values=factors
    )


def _refuse_unsupported(fields: Fields) -> None:
    for name in ("attention_bias", "mlp_bias", "lm_head_bias"):
        fields.support(not fields.flag(name), f"{name} is on; Phi-4 has no biases")
    activation = fields.value("hidden_act", "silu")
    fields.support(activation == "silu", f"hidden_act is {activation!r}; Phi-4 has silu")


def _rope_dimensions(fields: Fields, head_length: int) -> int:
    share = fields.positive("partial_rotary_factor", default=1.0)
    dimensions = int(share * head_length)
    fields.require(
        0 < dimensions <= head_length and dimensions % 2 == 0,
        f"partial_rotary_factor gives {dimensions} rotated elements of a head of {head_length}",
    )
    return dimensions
