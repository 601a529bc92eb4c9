"""Print the README's table of files and memory: arithmetic over the manifests, nothing is measured.

python -m benchmarks.models_table
"""

from __future__ import annotations

from phi4local import catalog
from phi4local.planning.kv_cache import kv_cache_bytes
from phi4local.planning.shape import manifest_shape

GIGABYTE = 1e9
SHOWN = ("Q4_0", "Q4_K_M", "Q6_K", "Q8_0", "BF16")
"""The quantizations that most people choose from; docs/quantizations.md and `phi4local plan` have all."""


def table(name: str = "phi-4") -> str:
    """Return the Markdown table of one family member."""
    manifest = catalog.find(name)
    shape = manifest.architecture
    lines = ["| quantization | weights | with 4,096 tokens | with 16,384 tokens |", "|---|---|---|---|"]
    for quantization in SHOWN:
        weights = manifest_shape(manifest, quantization).weight_bytes
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
