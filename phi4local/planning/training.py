"""Memory that training a LoRA adapter takes, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

_ADAM_BYTES = 16
"""For each trained number: itself, its gradient and Adam's two averages, in 32 bits."""
_CUDA_CONTEXT_BYTES = 600_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingShape:
    """What the memory follows from.

    Attributes:
        parameters: of the frozen model.
        layers, width, kv_width, feed_forward, vocabulary_tokens: of the model.
        dtype_bytes: of a frozen weight.
        rank: of the adapter, on all linear layers.
        tokens: of the samples that are computed together, padding included.
        checkpointing: a layer is computed again for its gradient.
        gpu: on a GPU, whose runtime takes some too.
    """

    parameters: int
    layers: int
    width: int
    kv_width: int
    feed_forward: int
    vocabulary_tokens: int
    dtype_bytes: int
    rank: int
    tokens: int
    checkpointing: bool
    gpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMemory:
    """Bytes by what they are for."""

    weights: int
    adapter: int
    activations: int
    logits: int
    runtime: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.adapter + self.activations + self.logits + self.runtime


def adapter_parameters(shape: TrainingShape) -> int:
    """Return the trained numbers: A and B of the four fused matrices of each layer.

    Example: rank 8 on Phi-4 → 27,852,800.
    """
    qkv = shape.width + (shape.width + 2 * shape.kv_width)
    output, down = 2 * shape.width, shape.feed_forward + shape.width
    gate_up = shape.width + 2 * shape.feed_forward
    return shape.layers * shape.rank * (qkv + output + gate_up + down)


def training_memory(shape: TrainingShape) -> TrainingMemory:
    """Return the most memory that training takes.

    With checkpointing one row of numbers for each layer and token is kept, and everything inside of one
    layer: its values in the weights' type, what LoRA computes beside them in 32 bits (PEFT keeps A and B so),
    and as much again for gradients. Without, the inside of every layer. The logits of a sample exist twice in
    the weights' type and twice in 32 bits; only where something is learned, but that may be everywhere.

    Example: Phi-4 in bfloat16, rank 8, 2,048 tokens, checkpointing → 29.3 GB of weights, 0.4 GB for the
    adapter, 36.6 GB in all; torch held 34.6 GB on an H100 (benchmarks/finetune_gpu.py), and CUDA some beside.
    """
    d, k, f, size = shape.width, shape.kv_width, shape.feed_forward, shape.dtype_bytes
    values = size * (8 * d + 4 * k + 4 * f)
    beside = 4 * (2 * (3 * d + f) + 3 * d + 2 * k + 2 * f)
    inside = 2 * shape.tokens * (values + beside)
    kept = shape.layers * shape.tokens * d * size
    trained = adapter_parameters(shape)
    return TrainingMemory(
        weights=shape.parameters * size,
        adapter=trained * _ADAM_BYTES,
        activations=kept + inside if shape.checkpointing else shape.layers * inside // 2 + inside // 2,
        logits=shape.tokens * shape.vocabulary_tokens * (2 * size + 8),
        runtime=_CUDA_CONTEXT_BYTES if shape.gpu else 0,
    )
