"""Complete phi3 models of random shape, element types and optional keys, for comparing with llama.cpp."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from phi4local.gguf.tensor_types import TENSOR_TYPES
from tests.hostile.gguf_files import BOOL, F32, STR, U32, File, sentencepiece_model, small_model, weights

if TYPE_CHECKING:
    import random

_HEAD_WIDTHS = (2, 3, 4, 6, 8, 10, 16, 20, 32, 48, 64, 96, 128, 256)
_OPTIONAL = (
    ("phi3.rope.scaling.type", STR, ("none", "linear", "yarn", "longrope")),
    ("phi3.rope.scaling.factor", F32, (1e-30, 0.5, 4.0, 1e30)),
    ("phi3.rope.scaling.attn_factor", F32, (1e-30, 1.19, 1e30)),
    ("phi3.rope.freq_base", F32, (1e-38, 0.5, 10000.0, 1e38)),
    ("phi3.attention.layer_norm_rms_epsilon", F32, (1e-38, 0.99)),
    ("phi3.context_length", U32, (1, 63, 2**31 - 1)),
    ("phi3.rope.scaling.original_context_length", U32, (1, 63, 2**31 - 1)),
    ("phi3.attention.sliding_window", U32, (1, 7, 2**31 - 1)),
    ("tokenizer.ggml.add_bos_token", BOOL, (0, 1)),
    ("tokenizer.ggml.add_eos_token", BOOL, (0, 1)),
)


def random_model(randomness: random.Random) -> File:
    file = randomness.choice((small_model, small_model, sentencepiece_model))()
    tokens = file.tensor("token_embd.weight").shape[1]
    head_width, kv_heads = randomness.choice(_HEAD_WIDTHS), randomness.choice((1, 2, 3))
    heads = kv_heads * randomness.choice((1, 2, 3))
    width, blocks = head_width * heads, randomness.choice((1, 2, 3))
    feed_forward = randomness.choice((1, 3, 32, 64, 256))
    rope = max(2, randomness.choice((head_width, head_width // 2)) // 2 * 2)
    for key, count in (
        ("embedding_length", width),
        ("feed_forward_length", feed_forward),
        ("block_count", blocks),
        ("attention.head_count", heads),
        ("attention.head_count_kv", kv_heads),
        ("rope.dimension_count", rope),
    ):
        file.set(f"phi3.{key}", U32, count)
    for key, kind, choices in _OPTIONAL:
        if randomness.random() < 0.3:
            file.set(key, kind, randomness.choice(choices))
    file.tensors = []
    _add(file, randomness, "token_embd.weight", width, tokens)
    for block in range(blocks):
        _add_block(file, randomness, f"blk.{block}.", (width, head_width * kv_heads, feed_forward))
    _add(file, randomness, "output_norm.weight", width)
    if randomness.random() < 0.7:
        _add(file, randomness, "output.weight", width, tokens)
    if randomness.random() < 0.3:
        _add(file, randomness, "rope_factors_long.weight", rope // 2)
        _add(file, randomness, "rope_factors_short.weight", rope // 2)
    randomness.shuffle(file.tensors)
    return file


def _add_block(file: File, randomness: random.Random, prefix: str, sizes: tuple[int, int, int]) -> None:
    width, kv_width, feed_forward = sizes
    _add(file, randomness, f"{prefix}attn_norm.weight", width)
    if randomness.random() < 0.7:
        _add(file, randomness, f"{prefix}attn_qkv.weight", width, width + 2 * kv_width)
    else:
        _add(file, randomness, f"{prefix}attn_q.weight", width, width)
        _add(file, randomness, f"{prefix}attn_k.weight", width, kv_width)
        _add(file, randomness, f"{prefix}attn_v.weight", width, kv_width)
    _add(file, randomness, f"{prefix}attn_output.weight", width, width)
    _add(file, randomness, f"{prefix}ffn_norm.weight", width)
    _add(file, randomness, f"{prefix}ffn_up.weight", width, 2 * feed_forward)
    _add(file, randomness, f"{prefix}ffn_down.weight", feed_forward, width)


def _add(file: File, randomness: random.Random, name: str, *shape: int) -> None:
    """Add a tensor; a matrix gets any type whose blocks fill its rows, at times one that cannot be run."""
    usable = randomness.random() < 0.98
    fitting = [one for one in TENSOR_TYPES.values() if shape[0] % one.block_elements == 0]
    fitting = [one for one in fitting if one.multiplies or not usable]
    kind = randomness.choice(fitting) if len(shape) == 2 and randomness.random() < 0.5 else TENSOR_TYPES[0]
    tensor = file.add_tensor(name, 1)
    tensor.shape, tensor.kind = shape, kind.id
    numbers = math.prod(shape)
    if kind.id == 0:
        tensor.data = weights(numbers, "shape")
    else:
        tensor.data = randomness.randbytes(numbers // kind.block_elements * kind.block_bytes)
