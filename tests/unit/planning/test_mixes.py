"""Which tensor gets which type: the known tables, and llama.cpp's own dry run on Phi-4's real shapes."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from phi4local.convert import writer
from phi4local.convert.architectures.phi3 import Phi3
from phi4local.convert.metadata import general
from phi4local.native.ggml import row_size_bytes
from phi4local.planning.mixes import QUANTIZATIONS, Mix, choose_types, needs_importance
from phi4local.planning.recipes import RECIPES, Place, sensitive
from tests.llama_quantize import Job, quantize

if TYPE_CHECKING:
    from pathlib import Path

PHI_4 = Phi3(
    layers=40,
    embedding_length=5120,
    feed_forward_length=17920,
    heads=40,
    kv_heads=10,
    vocabulary_tokens=100352,
    context_tokens=16384,
    original_context_tokens=16384,
    rms_norm_epsilon=1e-5,
    rope_theta=250000.0,
    rope_dimensions=128,
    sliding_window_tokens=0,
    tied_embeddings=False,
)


NEED_IMPORTANCE = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "Q2_K_S", "IQ3_XXS", "IQ3_XS")


def types_of_phi_4(quantization: str) -> dict[str, str]:
    """With an importance matrix where llama-quantize demands one, else without."""
    mix = Mix(
        quantization=quantization,
        layers=PHI_4.layers,
        heads_per_kv_head=4,
        importance=quantization in NEED_IMPORTANCE,
    )
    return choose_types([(tensor.name, tensor.shape) for tensor in PHI_4.tensors()], mix)


def size_of_phi_4(quantization: str) -> int:
    types = types_of_phi_4(quantization)
    return sum(
        row_size_bytes(types[tensor.name], tensor.shape[-1]) * math.prod(tensor.shape[:-1])
        for tensor in PHI_4.tensors()
    )


@pytest.mark.parametrize(
    ("quantization", "counts"),
    [
        ("Q4_0", {"Q4_0": 161, "Q6_K": 1, "F32": 81}),
        ("Q4_K_S", {"Q4_K": 152, "Q5_K": 9, "Q6_K": 1, "F32": 81}),
        ("Q4_K_M", {"Q4_K": 121, "Q6_K": 41, "F32": 81}),
        ("Q5_K_M", {"Q5_K": 121, "Q6_K": 41, "F32": 81}),
        ("Q6_K", {"Q6_K": 162, "F32": 81}),
        ("Q8_0", {"Q8_0": 162, "F32": 81}),
        ("BF16", {"BF16": 162, "F32": 81}),
        ("F16", {"F16": 162, "F32": 81}),
        ("F32", {"F32": 243}),
    ],
)
def test_counts_of_phi_4(quantization: str, counts: dict[str, int]) -> None:
    assert Counter(types_of_phi_4(quantization).values()) == counts


def test_layers_with_more_bits() -> None:
    found = [layer for layer in range(40) if sensitive(Place(layer, 40, 4, importance=False))]
    assert found == [*range(5), 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, *range(35, 40)]
    types = types_of_phi_4("Q4_K_M")
    for layer in range(40):
        wanted = "Q6_K" if layer in found else "Q4_K"
        assert types[f"blk.{layer}.attn_qkv.weight"] == types[f"blk.{layer}.ffn_down.weight"] == wanted
        assert types[f"blk.{layer}.ffn_up.weight"] == types[f"blk.{layer}.attn_output.weight"] == "Q4_K"


@pytest.mark.parametrize(
    ("quantization", "gigabytes"), [("Q4_K_M", 9.056), ("Q8_0", 15.577), ("Q4_0", 8.380)]
)
def test_size_of_phi_4(quantization: str, gigabytes: float) -> None:
    assert round(size_of_phi_4(quantization) / 1e9, 3) == gigabytes


@pytest.mark.parametrize(
    ("name", "row", "quantization", "tied", "expected"),
    [
        ("blk.0.attn_output.weight", 576, "Q4_K_M", False, "Q5_0"),
        ("blk.0.attn_qkv.weight", 576, "Q4_K_S", False, "Q5_1"),
        ("blk.0.attn_qkv.weight", 576, "Q4_K_M", False, "Q8_0"),
        ("blk.0.attn_output.weight", 40, "Q8_0", False, "F16"),
        ("output.weight", 576, "Q4_0", False, "Q8_0"),
        ("output.weight", 40, "Q4_0", False, "F16"),
        ("output.weight", 512, "Q8_0", False, "Q8_0"),
        ("token_embd.weight", 512, "Q4_K_M", False, "Q4_K"),
        ("token_embd.weight", 512, "Q4_K_M", True, "Q6_K"),
        ("token_embd.weight", 576, "Q4_K_M", True, "Q8_0"),
        ("output.weight", 40, "F16", False, "F16"),
        ("blk.0.attn_norm.weight", 40, "Q4_0", False, "F32"),
    ],
)
def test_rules_and_fallbacks(name: str, row: int, quantization: str, tied: bool, expected: str) -> None:
    mix = Mix(quantization=quantization, layers=8, heads_per_kv_head=4, tied_embeddings=tied)
    assert choose_types([(name, (16, row))], mix) == {name: expected}


def test_a_norm_is_never_quantized() -> None:
    mix = Mix(quantization="Q4_0", layers=8, heads_per_kv_head=4)
    assert choose_types([("output_norm.weight", (256,))], mix) == {"output_norm.weight": "F32"}


def test_unknown_quantization() -> None:
    with pytest.raises(KeyError):
        choose_types(
            [("output.weight", (2, 256))], Mix(quantization="Q4_K_XL", layers=8, heads_per_kv_head=4)
        )


def test_names_are_sorted_by_size() -> None:
    sizes = [size_of_phi_4(name) for name in QUANTIZATIONS]
    assert sizes == sorted(sizes)


MINI = replace(
    PHI_4,
    layers=32,
    embedding_length=3072,
    feed_forward_length=8192,
    heads=24,
    kv_heads=8,
    vocabulary_tokens=200064,
    rope_dimensions=96,
    tied_embeddings=True,
)


@pytest.mark.skipif(sys.platform == "win32", reason="NTFS files are not sparse by default")
@pytest.mark.parametrize("importance", [False, True])
@pytest.mark.parametrize("model", [PHI_4, MINI], ids=["14B", "mini"])
def test_llama_cpps_dry_run_on_the_real_shapes(model: Phi3, importance: bool, tmp_path: Path) -> None:
    """A sparse file of 58.6 GB with Phi-4's header: llama.cpp says what it would do and reads no weight."""
    rows = []
    offset = 0
    for tensor in model.tensors():
        size = 4 * math.prod(tensor.shape)
        rows.append((tensor.name, tensor.shape, "F32", size))
        offset += writer.padded(size)
    metadata = (*general("phi3", "phi-4", file_type=0, quantization_version=2), *model.metadata())
    header = writer.header(metadata, rows)
    sparse = tmp_path / "sparse.gguf"
    with sparse.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + offset)
    columns = None
    if importance:
        columns = str(tmp_path / "columns.npz")
        np.savez(columns, **{"blk.0.attn_qkv.weight": np.ones(model.embedding_length, np.float32)})
    names = list(RECIPES)
    outcomes = quantize(sparse, [Job(name, imatrix=columns, dry_run=True) for name in names], timeout=200)
    sparse.unlink()
    for name, outcome in zip(names, outcomes, strict=True):
        mix = Mix(
            quantization=name,
            layers=model.layers,
            heads_per_kv_head=model.heads // model.kv_heads,
            tied_embeddings=model.tied_embeddings,
            importance=importance,
        )
        ours = choose_types([(tensor.name, tensor.shape) for tensor in model.tensors()], mix)
        assert outcome.types == ours, name
        needs = any(needs_importance(tensor, kind, name) for tensor, kind in ours.items())
        assert ("require an imatrix" in outcome.log) == (needs and not importance), name
