"""The workshop in a checkout: recipes build what they say; files compared with llama.cpp's converter."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from convert import compare, reproduce
from phi4local import catalog, errors
from phi4local.convert import convert_checkpoint
from tests.llama_quantize import write_imatrix_gguf
from tests.random_checkpoint import NANO
from tests.unit.convert.test_format_page import table
from tests.unit.convert.test_kernels import ggml_is_fused

CHECKOUT = NANO.parents[1]
LLAMA_CPP = CHECKOUT / "tests" / "golden" / "llama_cpp_nano.json"
PORTABLE = ("F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S")
"""What Numba's kernels make alone: the same bytes whatever the processor."""
RECIPES = sorted(path.stem for path in reproduce.RECIPES.glob("*.toml"))


@pytest.fixture(scope="module")
def nano_bf16(tmp_path_factory):
    path = tmp_path_factory.mktemp("bf16") / "nano.gguf"
    convert_checkpoint(NANO, path, "BF16")
    return path


def run(module, *arguments):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=CHECKOUT, timeout=120)


def test_the_ladder_of_phi4_nano(tmp_path):
    """One recipe builds every quantization, and each has the sum that the recipe says."""
    fused = ggml_is_fused()
    recipe = reproduce.read_recipe("phi4-nano")
    found = reproduce.build(recipe, NANO, tmp_path, kernels="numba" if fused else "ggml")
    assert found.keys() == recipe.sha256.keys() == set(recipe.quantizations)
    comparable = PORTABLE if fused else recipe.quantizations
    assert {name: found[name] for name in comparable} == {name: recipe.sha256[name] for name in comparable}
    lines = (tmp_path / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{total}  phi4-nano-{name}.gguf" for name, total in found.items()]
    for name, total in found.items():
        assert hashlib.sha256((tmp_path / f"phi4-nano-{name}.gguf").read_bytes()).hexdigest() == total


def test_a_sum_that_differs_is_told(monkeypatch, tmp_path, capsys):
    recipe = reproduce.read_recipe("phi4-nano")
    found = dict(recipe.sha256) | {"Q8_0": "0" * 64}
    assert reproduce.report(recipe, recipe.sha256) == 0
    assert reproduce.report(recipe, found) == 1
    assert f"NOT {recipe.sha256['Q8_0']}" in capsys.readouterr().out


def test_another_checkpoint_is_refused(tmp_path):
    (tmp_path / "phi4-nano").mkdir()
    for path in NANO.iterdir():
        if path.suffix in (".json", ".safetensors"):
            (tmp_path / "phi4-nano" / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "phi4-nano" / "config.json"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    recipe = reproduce.read_recipe("phi4-nano")
    with pytest.raises(errors.CheckpointError, match=r"config\.json.*has the SHA-256"):
        reproduce.check_checkpoint(recipe, tmp_path / "phi4-nano")
    with pytest.raises(errors.CheckpointError, match="its name becomes the model's"):
        reproduce.check_checkpoint(recipe, tmp_path)


def test_update_writes_the_sums(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "RECIPES", tmp_path)
    text = (CHECKOUT / "convert" / "recipes" / "phi4-nano.toml").read_text(encoding="utf-8")
    (tmp_path / "phi4-nano.toml").write_text(text, encoding="utf-8")
    recipe = reproduce.read_recipe("phi4-nano")
    reproduce.update(recipe, {"Q8_0": "ab"})
    assert reproduce.read_recipe("phi4-nano").sha256 == {"Q8_0": "ab"}
    reproduce.update(recipe, recipe.sha256)
    assert (tmp_path / "phi4-nano.toml").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_of_a_known_model(name):
    recipe = reproduce.read_recipe(name)
    manifest = catalog.find(recipe.name)
    assert recipe.repository == manifest.repository
    assert (recipe.folder is None) != (recipe.repository is None)
    assert manifest.quantization in recipe.quantizations
    assert recipe.kernels in ("numba", "ggml")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nothing", "--output", "."], "choose one of phi-4, phi4-nano"),
        (["phi-4", "--output", "."], "download microsoft/phi-4"),
        (["phi-4", "--output", ".", "--checkpoint", "/nowhere/phi-4"], "no such folder"),
    ],
)
def test_what_is_missing_is_one_error(arguments, says):
    done = run("convert.reproduce", *arguments)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert says in done.stderr


def test_metadata_and_tensors_are_those_of_llama_cpps_converter(nano_bf16):
    """tests/golden/make_llama_cpp.py ran convert_hf_to_gguf.py; only what FORMAT.md lists is different."""
    expected = json.loads(LLAMA_CPP.read_text(encoding="utf-8"))
    reader = gguf.GGUFReader(nano_bf16)
    keys = {
        key: [[kind.name for kind in field.types], _kept(field.contents())]
        for key, field in reader.fields.items()
        if not key.startswith("GGUF.")
    }
    different = {key for key in keys.keys() | expected["keys"] if keys.get(key) != expected["keys"].get(key)}
    assert different <= set(compare.KNOWN)
    assert {
        tensor.name: [tensor.tensor_type.name, tensor.shape.tolist(), _digest(tensor.data.tobytes())]
        for tensor in reader.tensors
    } == expected["tensors"]


def _kept(value):
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= 200 else _digest(text.encode())


def _digest(data):
    return hashlib.sha256(data).hexdigest()


def test_the_page_lists_the_known_differences():
    assert [(row[0], row[2]) for row in table("differs")] == list(compare.KNOWN.items())


def test_equal_files_have_no_difference(nano_bf16):
    assert list(compare.differences(nano_bf16, nano_bf16)) == []


def test_a_changed_byte_and_another_type_are_found(nano_bf16, tmp_path):
    header = gguf.GGUFReader(nano_bf16)
    tensor = next(tensor for tensor in header.tensors if tensor.name == "blk.3.ffn_up.weight")
    changed = bytearray(nano_bf16.read_bytes())
    changed[tensor.data_offset + 77] ^= 1
    (tmp_path / "m.gguf").write_bytes(changed)
    (found,) = compare.differences(nano_bf16, tmp_path / "m.gguf")
    assert (found.what, found.ours) == ("blk.3.ffn_up.weight", "other bytes from 77 on")
    convert_checkpoint(NANO, tmp_path / "q.gguf", "Q8_0")
    done = run("convert.compare", nano_bf16, tmp_path / "q.gguf")
    assert done.returncode == 1
    assert "blk.3.ffn_up.weight: BF16 of (256, 1536) | Q8_0 of (256, 1536) | UNKNOWN" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 known differences, 35 others")


def test_a_damaged_file_is_one_error(nano_bf16, tmp_path):
    (tmp_path / "m.gguf").write_bytes(Path(nano_bf16).read_bytes()[:-1])
    done = run("convert.compare", nano_bf16, tmp_path / "m.gguf")
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert run("convert.compare").returncode == 2


def test_a_recipe_with_an_importance_matrix(tmp_path):
    """The matrix beside the recipe reaches the quantizer, and its use is noted in the file."""
    columns = {"blk.0.ffn_down.weight": np.linspace(0.1, 2, 768, dtype=np.float32)}
    write_imatrix_gguf(tmp_path / "nano.imatrix", columns)
    recipe = replace(
        reproduce.read_recipe("phi4-nano"), quantizations=("Q4_K_M",), imatrix=tmp_path / "nano.imatrix"
    )
    plain = reproduce.read_recipe("phi4-nano").sha256["Q4_K_M"]
    assert reproduce.build(recipe, NANO, tmp_path, kernels="ggml")["Q4_K_M"] != plain
    assert "quantize.imatrix.file" in gguf.GGUFReader(tmp_path / "phi4-nano-Q4_K_M.gguf").fields
