"""Write LoRA adapters in GGUF form with llama.cpp's own Python package, and the weights they amount to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

PLACES = {"attn_qkv": "self_attn.qkv_proj", "ffn_down": "mlp.down_proj"}
"""Adapted tensors of each block, by their names in GGUF and in a checkpoint."""


def random_deltas(
    weights: dict[str, np.ndarray], *, rank: int = 4, seed: int = 0, size: float = 0.05
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return A `(rank, in)` and B `(out, rank)` for each adapted matrix `(out, in)` of a checkpoint."""
    generator = np.random.default_rng(seed)
    deltas = {}
    for name, matrix in weights.items():
        for ours, theirs in PLACES.items():
            if name.endswith(f"{theirs}.weight"):
                block = name.split(".")[2]
                rows, columns = matrix.shape
                deltas[f"blk.{block}.{ours}.weight"] = (
                    generator.normal(0, size, (rank, columns)).astype(np.float32),
                    generator.normal(0, size, (rows, rank)).astype(np.float32),
                )
    return deltas


def write_adapter(
    path: Path,
    deltas: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    alpha: float = 8.0,
    kind: str = "lora",
) -> Path:
    """Write the pairs as llama.cpp's convert_lora_to_gguf.py does; return `path`."""
    writer = gguf.GGUFWriter(path, "phi3")
    writer.add_type("adapter")
    writer.add_string("adapter.type", kind)
    writer.add_float32("adapter.lora.alpha", alpha)
    for name, (first, second) in deltas.items():
        writer.add_tensor(f"{name}.lora_a", first)
        writer.add_tensor(f"{name}.lora_b", second)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def merged(
    weights: dict[str, np.ndarray], parts: list[tuple[dict[str, tuple[np.ndarray, np.ndarray]], float]]
) -> dict[str, np.ndarray]:
    """Return float32 weights with `factor * B @ A` added; the factor is scale * alpha / rank."""
    result = {name: matrix.astype(np.float32) for name, matrix in weights.items()}
    for deltas, factor in parts:
        for name, (first, second) in deltas.items():
            _, block, place, _ = name.split(".")
            result[f"model.layers.{block}.{PLACES[place]}.weight"] += factor * (second @ first)
    return result
