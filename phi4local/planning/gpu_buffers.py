"""Bytes that llama.cpp allocates for intermediate results where a GPU computes, there and in main memory.

Found by comparing with what it reports on an H100 for thirty-six settings of Phi-4's true shapes
(benchmarks/gpu.py): within 1 % with all layers on the GPU, and at most 14 % too much with some on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.planning.buffers import FLOAT, input_bytes

if TYPE_CHECKING:
    from phi4local.planning.buffers import Cells
    from phi4local.planning.shape import ModelShape

CUDA_CONTEXT_BYTES = 600 * 2**20
"""Of the driver, its kernels and cuBLAS in each process: 611 MiB on an H100 with CUDA 13."""
_HALF = 2
_PLAIN_CACHES = ("f32", "f16", "bf16")


def gpu_compute_bytes(model: ModelShape, cells: Cells) -> int:
    """Return the buffer of a GPU that has all layers.

    One vector of the width fewer than on a CPU lives at a time, unless the cache is quantized. A quantized
    cache is widened to float16 for the fused kernel, keys and values of one layer at a time.

    Example: Phi-4, 2,048 cells, 9 sequences, 512 tokens: 127.3 MiB.
    """
    tokens, vector = cells.step_tokens, cells.step_tokens * model.width * FLOAT
    plain = cells.kv_type in _PLAIN_CACHES
    moments = [
        (2 if plain else 3) * vector + 3 * model.feed_forward * FLOAT * tokens,
        cells.sequences * (model.vocabulary_tokens + 4 * model.width) * FLOAT,
    ]
    if not cells.flash_attention:
        moments.append(_scores(model, cells) + 2 * vector)
    elif not plain:
        widened = 2 * cells.padded_tokens * model.kv_heads * model.head_length * _HALF
        moments.append(widened + 11 * vector // 2)
    return input_bytes(model, cells) + max(moments)


def offloading_compute_bytes(model: ModelShape, cells: Cells) -> int:
    """Return the buffer of a GPU while some or all layers are on the CPU.

    A prompt's products with weights of the CPU are computed on the first GPU, too: they are copied there,
    one matrix while another one is in use.

    Example: Phi-4 as Q4_K_M, 2,048 cells, 9 sequences, 512 tokens: 229.4 MiB.
    """
    tokens = cells.step_tokens
    largest, joint, output = (_matrix(model, name) for name in ("ffn_up", "attn_qkv", "attn_output"))
    needed = largest + joint + 3 * model.feed_forward * FLOAT * tokens
    if cells.flash_attention:
        return needed
    attention = _scores(model, cells) + 3 * tokens * model.width * FLOAT + joint + output
    return max(needed, input_bytes(model, cells) + attention)


def host_compute_bytes(model: ModelShape, cells: Cells, *, some_on_cpu: bool) -> int:
    """Return the buffer of main memory beside a GPU: inputs, two vectors, and new keys and values of the CPU.

    Example: Phi-4, 2,048 cells, 9 sequences, 512 tokens: 22.0 MiB with all layers on the GPU.
    """
    tokens = cells.step_tokens
    vectors = 2 * model.width
    if some_on_cpu and cells.kv_type in _PLAIN_CACHES:
        vectors += 3 * model.kv_heads * model.head_length
    return input_bytes(model, cells) + vectors * FLOAT * tokens


def _scores(model: ModelShape, cells: Cells) -> int:
    return model.heads * cells.step_tokens * cells.padded_tokens * FLOAT


def _matrix(model: ModelShape, name: str) -> int:
    """Return the size of the largest matrix of a kind."""
    sizes = (w.size_bytes for w in model.weights if w.layer is not None and f".{name}." in w.name)
    return max(sizes, default=0)
