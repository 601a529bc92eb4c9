"""A LoRA adapter with random weights for a random model: what it costs does not depend on what it learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from phi4local import gguf

if TYPE_CHECKING:
    from pathlib import Path

RANK = 16
TARGETS = ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
"""All matrices of a layer, as most fine-tunes choose."""


def write_adapter(model: Path, path: Path, *, seed: int) -> Path:
    """Write an adapter for all layers of `model`, as convert_lora_to_gguf.py of llama.cpp writes them."""
    import gguf as writer_library

    header = gguf.validate(model)
    choose = np.random.default_rng(seed)
    writer = writer_library.GGUFWriter(path, header.architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for tensor in header.tensors:
        if tensor.name.startswith("blk.") and tensor.name.split(".")[2] in TARGETS:
            columns, rows = tensor.shape
            first = 0.02 * choose.standard_normal((RANK, columns), dtype=np.float32)
            second = 0.02 * choose.standard_normal((rows, RANK), dtype=np.float32)
            writer.add_tensor(f"{tensor.name}.lora_a", first.astype(np.float16))
            writer.add_tensor(f"{tensor.name}.lora_b", second.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
