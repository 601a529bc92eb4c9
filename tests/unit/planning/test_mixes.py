"""Which tensor gets which type: the known tables, and llama.cpp's own dry run on Phi-4's real shapes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from phi4local.convert import writer
from phi4local.convert.architectures.phi3 import Phi3
from phi4local.convert.metadata import general
from phi4local.native.ggml import row_size_bytes
from phi4local.planning.mixes import QUANTIZATIONS, Mix, choose_types
from phi4local.planning.recipes import Place, sensitive

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


DRY_RUN = """
import json, sys, llama_cpp
for file_type in json.loads(sys.argv[2]):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread, parameters.dry_run = file_type, 1, True
    print(f"=== {file_type}", file=sys.stderr, flush=True)
    assert llama_cpp.llama_model_quantize(sys.argv[1].encode(), b"", parameters) == 0
"""


@pytest.mark.skipif(sys.platform == "win32", reason="NTFS files are not sparse by default")
def test_llama_cpps_dry_run_on_the_real_shapes(tmp_path: Path) -> None:
    """A sparse file of 58.6 GB with Phi-4's header: llama.cpp says what it would do and reads no weight."""
    rows = []
    offset = 0
    for tensor in PHI_4.tensors():
        size = 4 * math.prod(tensor.shape)
        rows.append((tensor.name, tensor.shape, "F32", size))
        offset += writer.padded(size)
    metadata = (*general("phi3", "phi-4", file_type=0, quantization_version=2), *PHI_4.metadata())
    header = writer.header(metadata, rows)
    model = tmp_path / "sparse.gguf"
    with model.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + offset)
    wanted = [name for name in QUANTIZATIONS if name.startswith("Q")]
    file_types = {writer.file_type(name): name for name in wanted}
    done = subprocess.run(
        [sys.executable, "-c", DRY_RUN, str(model), json.dumps(list(file_types))],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    for part in done.stderr.split("=== ")[1:]:
        quantization = file_types[int(part.split(maxsplit=1)[0])]
        line = r"\] (\S+) +- \[.*?type = +f32, size = .*? MiB(?: -> .*?MiB \((\w+)\))?$"
        found = re.findall(line, part, re.MULTILINE)
        theirs = {name: (chosen or "f32").upper() for name, chosen in found}
        assert theirs == types_of_phi_4(quantization)
    model.unlink()
