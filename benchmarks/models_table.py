"""Print the README's table of files and memory: arithmetic over the manifests, nothing is measured.

python -m benchmarks.models_table
"""

from __future__ import annotations

import math

from phi4local import catalog
from phi4local.convert.architectures.phi3 import Phi3
from phi4local.native.ggml import row_size_bytes
from phi4local.planning.kv_cache import kv_cache_bytes
from phi4local.planning.mixes import Mix, choose_types

GIGABYTE = 1e9
SHOWN = ("Q4_0", "Q4_K_M", "Q6_K", "Q8_0", "BF16")
"""The quantizations that most people choose from; docs/quantizations.md and `phi4local plan` have all."""


def weight_bytes(manifest: catalog.Manifest, quantization: str) -> int:
    """Return the bytes of all tensors. Example: phi-4 in Q4_K_M has 9,056,000,000 to three digits."""
    shape = manifest.architecture
    model = Phi3(
        layers=shape.layers,
        embedding_length=shape.embedding_length,
        feed_forward_length=shape.feed_forward_length,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        vocabulary_tokens=manifest.vocabulary_tokens,
        context_tokens=shape.context_tokens,
        original_context_tokens=shape.context_tokens,
        rms_norm_epsilon=1e-5,
        rope_theta=1.0,
        rope_dimensions=shape.embedding_length // shape.heads,
        sliding_window_tokens=0,
        tied_embeddings=False,
    )
    mix = Mix(
        quantization=quantization,
        layers=shape.layers,
        heads_per_kv_head=shape.heads // shape.kv_heads,
    )
    tensors = [(tensor.name, tensor.shape) for tensor in model.tensors()]
    types = choose_types(tensors, mix)
    return sum(math.prod(shape[:-1]) * row_size_bytes(types[name], shape[-1]) for name, shape in tensors)


def table(name: str = "phi-4") -> str:
    """Return the Markdown table of one family member."""
    manifest = catalog.find(name)
    shape = manifest.architecture
    lines = ["| quantization | weights | with 4,096 tokens | with 16,384 tokens |", "|---|---|---|---|"]
    for quantization in SHOWN:
        weights = weight_bytes(manifest, quantization)
        totals = [
            weights
            + kv_cache_bytes(
                layers=shape.layers,
                kv_heads=shape.kv_heads,
                head_length=shape.embedding_length // shape.heads,
                context_tokens=tokens,
            )
            for tokens in (4096, 16384)
        ]
        cells = " | ".join(f"{size / GIGABYTE:.1f} GB" for size in (weights, *totals))
        lines.append(f"| {quantization} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
