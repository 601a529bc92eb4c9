"""Bytes of the KV cache: arithmetic only."""

from __future__ import annotations

ELEMENT_BITS = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q5_1": 6.0,
    "q5_0": 5.5,
    "q4_1": 5.0,
    "q4_0": 4.5,
}
"""Bits per element of each cache type, with block scales (ggml-common.h: block_q8_0 is 34 bytes for 32)."""


def kv_cache_bytes(
    *, layers: int, kv_heads: int, head_length: int, context_tokens: int, kv_type: str = "f16"
) -> int:
    """Return the memory of a full KV cache.

    Two tensors (K and V) for each layer, each (context_tokens, kv_heads, head_length).

    Example: phi-4 has 40 layers, 10 KV heads of length 128; at 16,384 tokens in f16 that is 3,355,443,200
    bytes (3.125 GiB).

    Source: llama.cpp src/llama-kv-cache.cpp, as vendored in llama-cpp-python 0.3.36.
    """
    elements = 2 * layers * kv_heads * head_length * context_tokens
    return int(elements * ELEMENT_BITS[kv_type] / 8)
