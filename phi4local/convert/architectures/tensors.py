"""The table of tensors that a phi3 file has, and which rows of the checkpoint each one is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of the checkpoint whose rows follow those of the part before it."""

    name: str
    rows: int


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor of the file.

    Attributes:
        name: GGUF name, such as `blk.0.attn_qkv.weight`.
        shape: (rows, elements of a row), or (elements,) of a norm.
        parts: the checkpoint's tensors that it is made of, one below the other; nearly always one.
        field: where config.json has its numbers instead, such as `rope_scaling.long_factor`.
        values: those numbers.
    """

    name: str
    shape: tuple[int, ...]
    parts: tuple[Part, ...] = ()
    field: str = ""
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """How a checkpoint keeps the matrices that a phi3 file has in one piece.

    Attributes:
        split_attention: `q_proj`, `k_proj` and `v_proj` instead of `qkv_proj`.
        split_feed_forward: `gate_proj` and `up_proj` instead of `gate_up_proj`.
    """

    split_attention: bool = False
    split_feed_forward: bool = False

    @classmethod
    def of(cls, names: Collection[str]) -> Layout:
        """Return the layout that the tensors' names show.

        Example: `Layout.of(["model.layers.0.self_attn.q_proj.weight"])` → attention is split.
        """
        return cls(
            split_attention=any(name.endswith(".self_attn.q_proj.weight") for name in names),
            split_feed_forward=any(name.endswith(".mlp.gate_proj.weight") for name in names),
        )

    def layer(self, widths: Widths) -> Iterator[tuple[str, tuple[int, ...], tuple[Part, ...]]]:
        """Yield GGUF name, shape and parts of each tensor of a layer, sorted by name.

        Rows are only put one below the other: llama.cpp's phi3 graph takes the rows of q, k and v from one
        matrix, those of gate and up from another, and rotates halves of a head as transformers does, so no
        row changes its place (src/models/phi3.cpp, `LLAMA_ROPE_TYPE_NEOX`, of llama.cpp 0c1e57098).

        Example: Phi-4's `attn_qkv` of (7680, 5120) has one part, or three of 5,120, 1,280 and 1,280 rows.
        """
        width, keys, inner = widths.embedding, widths.keys, widths.feed_forward
        attention: tuple[Part, ...] = (Part("self_attn.qkv_proj", width + 2 * keys),)
        if self.split_attention:
            attention = tuple(
                Part(f"self_attn.{letter}_proj", rows)
                for letter, rows in (("q", width), ("k", keys), ("v", keys))
            )
        feed_forward: tuple[Part, ...] = (Part("mlp.gate_up_proj", 2 * inner),)
        if self.split_feed_forward:
            feed_forward = (Part("mlp.gate_proj", inner), Part("mlp.up_proj", inner))
        yield "attn_norm", (width,), (Part("input_layernorm", width),)
        yield "attn_output", (width, width), (Part("self_attn.o_proj", width),)
        yield "attn_qkv", (width + 2 * keys, width), attention
        yield "ffn_down", (width, inner), (Part("mlp.down_proj", width),)
        yield "ffn_norm", (width,), (Part("post_attention_layernorm", width),)
        yield "ffn_up", (2 * inner, width), feed_forward


@dataclass(frozen=True, slots=True)
class Widths:
    """Elements of the residual stream, of all keys of one token, and inside the feed-forward part."""

    embedding: int
    keys: int
    feed_forward: int


def fused_modules(widths: Widths) -> dict[str, dict[str, int]]:
    """Return the joint matrices of a layer with the modules that are their rows in Llama's layout, in order.

    Example: Phi-4 → `self_attn.qkv_proj` of 5,120, 1,280 and 1,280 rows, `mlp.gate_up_proj` of twice 17,920.
    """
    width, keys, inner = widths.embedding, widths.keys, widths.feed_forward
    return {
        "self_attn.qkv_proj": {"self_attn.q_proj": width, "self_attn.k_proj": keys, "self_attn.v_proj": keys},
        "mlp.gate_up_proj": {"mlp.gate_proj": inner, "mlp.up_proj": inner},
    }


FUSED = Layout()
"""Phi3ForCausalLM's own."""


def layer_tensors(layout: Layout, widths: Widths, layers: int) -> Iterator[ExpectedTensor]:
    """Yield the tensors of all layers, layer by layer, each by name."""
    rows = list(layout.layer(widths))
    for layer in range(layers):
        for name, shape, parts in rows:
            sources = tuple(Part(f"model.layers.{layer}.{part.name}.weight", part.rows) for part in parts)
            yield ExpectedTensor(f"blk.{layer}.{name}.weight", shape, sources)
