"""Memory that training a LoRA adapter takes, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass

_ADAM_BYTES = 16
"""For each trained number: itself, its gradient and Adam's two averages, in 32 bits."""
_CUDA_CONTEXT_BYTES = 600_000_000
_BYTES_OF_FOUR_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)
"""With QLoRA's doubly quantized scales: 8 bits for 64 weights, and 32 more for 256 of those: 4.127 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingShape:
    """What the memory follows from.

    Attributes:
        parameters: of the frozen model.
        layers, width, kv_width, feed_forward, vocabulary_tokens: of the model.
        four_bit_parameters: those of them that are kept in 4 bits, QLoRA's way.
        dtype_bytes: of any other frozen weight, and of what is computed.
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
    four_bit_parameters: int = 0


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


def frozen_bytes(shape: TrainingShape) -> int:
    """Return the frozen weights' bytes.

    Example: Phi-4 → 29.3 GB in bfloat16; 9.1 GB with 13,631,488,000 weights of 4 bits.
    """
    others = shape.parameters - shape.four_bit_parameters
    return others * shape.dtype_bytes + round(shape.four_bit_parameters * _BYTES_OF_FOUR_BITS)


def training_memory(shape: TrainingShape) -> TrainingMemory:
    """Return the most memory that training takes.

    With checkpointing one row of numbers for each layer and token is kept, and everything inside of one
    layer: its values in the weights' type, what LoRA computes beside them in 32 bits (PEFT keeps A and B so),
    and as much again for gradients. Without, the inside of every layer. The logits of a sample exist twice in
    the weights' type and twice in 32 bits; only where something is learned, but that may be everywhere.

    Weights of 4 bits are unpacked one matrix at a time, and the result of each exists once more.

    Example: Phi-4 in bfloat16, rank 8, 2,048 tokens, checkpointing → 29.3 GB of weights, 0.4 GB for the
    adapter, 36.6 GB in all; torch held 34.6 GB on an H100 (benchmarks/finetune_gpu.py), and CUDA some beside.
    """
    d, k, f, size = shape.width, shape.kv_width, shape.feed_forward, shape.dtype_bytes
    values = size * (8 * d + 4 * k + 4 * f)
    beside = 4 * (2 * (3 * d + f) + 3 * d + 2 * k + 2 * f)
    inside = 2 * shape.tokens * (values + beside)
    kept = shape.layers * shape.tokens * d * size
    unpacked = size * 2 * f * (d + shape.tokens) if shape.four_bit_parameters else 0
    activations = kept + inside if shape.checkpointing else shape.layers * inside // 2 + inside // 2
    trained = adapter_parameters(shape)
    return TrainingMemory(
        weights=frozen_bytes(shape),
        adapter=trained * _ADAM_BYTES,
        activations=activations + unpacked,
        logits=shape.tokens * shape.vocabulary_tokens * (2 * size + 8),
        runtime=_CUDA_CONTEXT_BYTES if shape.gpu else 0,
    )
