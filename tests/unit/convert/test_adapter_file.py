"""PEFT adapters as GGUF files: loaded by llama.cpp they give PEFT's logits.

tests/golden/make_merged.py made the adapters, and the logits with peft, transformers and torch.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import phi4local.gguf
from phi4local import errors
from phi4local.convert import convert_checkpoint
from phi4local.convert.adapter_base import base_of
from phi4local.convert.adapter_file import convert_adapter
from phi4local.native.adapter import NativeAdapter, set_adapters
from phi4local.native.context import ContextShape, NativeContext
from phi4local.native.llama import NativeModel
from tests.peft_folders import ADAPTERS, copied, fill, rename, resize, zero
from tests.random_checkpoint import Size, write_json, write_random_checkpoint

GOLDEN = Path(__file__).parents[2] / "golden"
BASE = Size(hidden=32, feed_forward=48, layers=1)  # as in make_merged.py
TOKENS = [5, 70, 256, 9, 33, 120, 7, 288]
FITTING = ("lora", "rslora", "patterns", "split", "outer")
QKV = "base_model.model.model.layers.0.self_attn.qkv_proj.lora_"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "merged.npz") as found:
        return {name: found[name] for name in found}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("base") / "c", BASE, dtype="F32")


@pytest.fixture(scope="module")
def base(checkpoint):
    return base_of(checkpoint)


@pytest.fixture(scope="module")
def model_file(checkpoint):
    path = checkpoint.parent / "base.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return path


def logits(model_file, adapter=None, scale=1.0):
    """Return the logits of the last of `TOKENS`, computed by llama.cpp itself with the adapter attached."""
    model = NativeModel(model_file)
    shape = ContextShape(
        context_tokens=256, batch_tokens=256, threads=1, kv_type="f32", flash_attention=False
    )
    context = NativeContext(model, shape)
    try:
        if adapter is not None:
            set_adapters(context, [(NativeAdapter(model, adapter), scale)])
        context.decode(TOKENS, 0)
        return np.ctypeslib.as_array(context.logits(), (301,)).copy()
    finally:
        context.close()
        model.close()


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("name", FITTING)
def test_logits_are_those_of_peft(name, golden, base, model_file, tmp_path):
    convert_adapter(ADAPTERS / name, base, tmp_path / "a.gguf")
    phi4local.gguf.validate_adapter(tmp_path / "a.gguf", phi4local.gguf.validate(model_file))
    expected = golden[f"{name}/logits"][-1]
    found = logits(model_file, tmp_path / "a.gguf")
    assert np.abs(found - expected).max() <= 1e-4
    assert np.abs(logits(model_file) - expected).max() > 1e-2


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize(("type_name", "largest"), [("F16", 1e-2), ("BF16", 5e-2)])
def test_logits_of_shorter_types(type_name, largest, golden, base, model_file, tmp_path):
    made = convert_adapter(ADAPTERS / "lora", base, tmp_path / "a.gguf", type_name=type_name)
    found = logits(model_file, tmp_path / "a.gguf")
    assert 0 < np.abs(found - golden["lora/logits"][-1]).max() <= largest
    assert made.size_bytes == (tmp_path / "a.gguf").stat().st_size


def test_what_the_file_holds(base, tmp_path):
    made = convert_adapter(ADAPTERS / "split", base, tmp_path / "a.gguf")
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    found = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert found == {
        "general.architecture": "phi3",
        "general.type": "adapter",
        "general.name": "split",
        "adapter.type": "lora",
        "adapter.lora.alpha": 0.0,
    }
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    saved = load_file(ADAPTERS / "split" / "adapter_model.safetensors")
    qkv = [f"base_model.model.model.layers.0.self_attn.{letter}_proj.lora_" for letter in "qkv"]
    a, b = tensors["blk.0.attn_qkv.weight.lora_a"], tensors["blk.0.attn_qkv.weight.lora_b"]
    assert np.array_equal(a, np.concatenate([saved[f"{name}A.weight"] for name in qkv]))
    scale = np.float32(6 / 2)
    row = column = 0
    for name in qkv:
        block = saved[f"{name}B.weight"] * scale
        rows, rank = block.shape
        assert np.array_equal(b[row : row + rows, column : column + rank], block)
        b[row : row + rows, column : column + rank] = 0
        row, column = row + rows, column + rank
    assert not b.any()
    assert (made.matrices, made.largest_rank) == (len(tensors) // 2, 6)
    assert made.parameters == sum(matrix.size for matrix in saved.values())


def test_bases_say_the_same_in_every_form(checkpoint, model_file, tmp_path):
    """A checkpoint, a GGUF file, and both with tied embeddings."""
    assert base_of(checkpoint) == base_of(model_file)
    tied = write_random_checkpoint(tmp_path / "c", replace(BASE, tied=True), dtype="F32")
    convert_checkpoint(tied, tmp_path / "m.gguf", "F32")
    assert base_of(tied) == base_of(tmp_path / "m.gguf")
    assert base_of(tied).tied
    assert base_of(tied).place("lm_head") is None


@pytest.fixture
def adapter(tmp_path):
    """`adapter("lora", r=3)`: a copy with another config; `tensors=` changes its tensors by name."""

    def make(name, tensors=None, **values):
        return copied(name, tmp_path, tensors, **values)

    return make


BAD = {
    "another layer": ({"tensors": rename("layers.0", "layers.1")}, "changes `model.layers.1.*does not have"),
    "a layer with zeros": ({"tensors": rename("layers.0", "layers.00")}, "changes `model.layers.00"),
    "a layer below zero": ({"tensors": rename("layers.0", "layers.-1")}, "changes `model.layers.-1"),
    "another module": ({"tensors": rename("o_proj", "dense")}, "changes `model.layers.0.self_attn.dense`"),
    "part of another": ({"tensors": rename("o_proj", "k_proj")}, "is for a matrix of .*, the model's is"),
    "a norm": ({"tensors": rename("self_attn.o_proj", "input_layernorm")}, "does not have"),
    "embedding as a linear": (
        {"tensors": rename("layers.0.self_attn.o_proj", "embed_tokens")},
        "changes `model.embed_tokens`|does not have",
    ),
    "too wide": ({"tensors": resize(QKV + "A.weight", 4, 33)}, r"matrix of \(64, 33\)"),
    "too many rows": ({"tensors": resize(QKV + "B.weight", 65, 4)}, r"matrix of \(65, 32\)"),
    "no common rank": ({"tensors": resize(QKV + "B.weight", 64, 3)}, "do not fit"),
    "three dimensions": ({"tensors": resize(QKV + "B.weight", 64, 4, 1)}, "do not fit"),
    "another rank": ({"r": 5}, "has the rank 4, its config says 5"),
    "rank is a text": ({"r": "4"}, "r is 4"),
    "B is zero": ({"tensors": zero("lora_B.weight")}, "changes nothing"),
    "A is zero": ({"tensors": zero("lora_A.weight")}, "changes nothing"),
    "alpha is zero": ({"lora_alpha": 0}, "changes nothing"),
    "no tensors": ({"tensors": lambda found: found.clear()}, "changes nothing|no tensors|empty"),
    "no B": ({"tensors": lambda found: found.pop(QKV + "B.weight")}, "one of the matrices A and B only"),
    "no A": ({"tensors": lambda found: found.pop(QKV + "A.weight")}, "one of the matrices A and B only"),
    "DoRA without magnitudes": ({"use_dora": True}, "use_dora and its tensors contradict"),
    "another kind": ({"peft_type": "LOHA"}, "of the kind LOHA"),
    "biases": ({"bias": "all"}, "changes biases"),
    "tokens": ({"trainable_token_indices": [1]}, "uses trainable_token_indices"),
    "more layers": ({"layer_replication": [[0, 1]]}, "uses layer_replication"),
    "activated": ({"alora_invocation_tokens": [1]}, "uses alora_invocation_tokens"),
    "pissa": ({"init_lora_weights": "pissa"}, "changes the base model too"),
    "alpha is not finite": ({"lora_alpha": 1e999}, "lora_alpha|not valid|Infinity"),
    "pattern that never ends": ({"alpha_pattern": {"(a+)+x": 1}}, "too complex"),
    "unknown tensor": ({"tensors": rename("o_proj.lora_A.weight", "o_proj.lora_C")}, "unknown kind"),
    "NaN": ({"tensors": fill(QKV + "B.weight", np.nan)}, "holds NaN or infinity"),
    "infinity": ({"tensors": fill(QKV + "A.weight", np.inf)}, "holds NaN or infinity"),
    "beyond float32 when scaled": ({"tensors": fill(QKV + "B.weight", 3e38)}, "beyond F32"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_adapters_are_refused(name, adapter, base, tmp_path):
    changes, says = BAD[name]
    (tmp_path / "out").mkdir()
    folder = adapter("lora", **changes)
    with pytest.raises(errors.AdapterError, match=says) as caught:
        convert_adapter(folder, base, tmp_path / "out" / "a.gguf")
    assert str(folder) in str(caught.value)
    assert caught.value.hint
    assert list((tmp_path / "out").iterdir()) == []


def spoil(folder, name, content):
    (folder / name).write_bytes(content)


FILES = {
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), "adapter_config.json"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no adapter_model"),
    "config is text": (lambda folder: spoil(folder, "adapter_config.json", b"hello"), "adapter_config.json"),
    "config is a list": (lambda folder: spoil(folder, "adapter_config.json", b"[]"), "adapter_config.json"),
    "weights are text": (lambda folder: spoil(folder, "adapter_model.safetensors", b"hello"), "safetensors"),
    "weights are empty": (lambda folder: spoil(folder, "adapter_model.safetensors", b""), "safetensors"),
    "a pickle": (
        lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"),
        "pickles",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_folders_that_are_no_adapter(name, adapter, base, tmp_path):
    change, says = FILES[name]
    folder = adapter("lora")
    change(folder)
    with pytest.raises(errors.AdapterError, match=says):
        convert_adapter(folder, base, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_a_model_instead_of_an_adapter(checkpoint, base, tmp_path):
    with pytest.raises(errors.AdapterError, match="has no adapter_model"):
        convert_adapter(checkpoint, base, tmp_path / "a.gguf")


@pytest.mark.parametrize("name", ["dora", "split dora", "modules"])
def test_what_has_to_be_merged_says_so(name, base, tmp_path):
    with pytest.raises(errors.AdapterError, match=r"DoRA|whole tensor") as caught:
        convert_adapter(ADAPTERS / name, base, tmp_path / "a.gguf")
    assert "--merge" in caught.value.hint


def test_an_output_of_tied_embeddings_is_refused(tmp_path):
    tied = write_random_checkpoint(tmp_path / "c", replace(BASE, tied=True), dtype="F32")
    with pytest.raises(errors.AdapterError, match="changes `lm_head`"):
        convert_adapter(ADAPTERS / "outer", base_of(tied), tmp_path / "a.gguf")


def test_numbers_beyond_f16(adapter, base, tmp_path):
    folder = adapter("lora", tensors=fill(QKV + "B.weight", 1e5))
    with pytest.raises(errors.AdapterError, match="beyond F16"):
        convert_adapter(folder, base, tmp_path / "a.gguf", type_name="F16")


def test_an_existing_file_is_kept(base, tmp_path):
    (tmp_path / "a.gguf").write_text("mine")
    with pytest.raises(errors.FileWriteError):
        convert_adapter(ADAPTERS / "lora", base, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_text() == "mine"


def test_the_commands(run_cli, checkpoint, model_file, tmp_path):
    """`convert-adapter`, and a PEFT folder given to `run`: the same words as with the converted file."""
    made = run_cli(["convert-adapter", ADAPTERS / "lora", "--base", checkpoint, "--json"], cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["matrices"] == 4
    assert (tmp_path / "lora-lora.gguf").is_file()
    unnamed = run_cli(["convert-adapter", ADAPTERS / "lora"], cwd=tmp_path)
    assert unnamed.returncode == 1
    assert "--base" in unnamed.stderr.splitlines()[-1]
    again = run_cli(["convert-adapter", ADAPTERS / "lora", "--base", model_file], cwd=tmp_path)
    assert again.returncode == 1
    assert "exist" in again.stderr


def test_a_folder_of_peft_beside_a_model(run_cli, tmp_path):
    """A LoRA for phi4-nano that was trained a little: the answer is that of the converted file."""
    width, rows, rank = 256, 256, 4
    choose = np.random.default_rng(5)
    folder = tmp_path / "tuned"
    folder.mkdir()
    name = "base_model.model.model.layers.{}.self_attn.o_proj.lora_{}.weight"
    tensors = {}
    for layer in range(8):
        tensors[name.format(layer, "A")] = choose.normal(0, 0.3, (rank, width)).astype(np.float32)
        tensors[name.format(layer, "B")] = choose.normal(0, 0.3, (rows, rank)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    write_json(
        folder / "adapter_config.json",
        {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "base_model_name_or_path": "phi4-nano"},
    )
    converted = run_cli(["convert-adapter", folder, "-o", tmp_path / "a.gguf"])
    assert converted.returncode == 0, converted.stderr
    ask = ["run", "phi4-nano", "Why is the sky blue?", "--temperature", "0", "-n", "12"]
    plain, with_folder, with_file = (
        run_cli([*ask, *extra]).stdout
        for extra in ([], ["--adapter", folder], ["--adapter", tmp_path / "a.gguf"])
    )
    assert with_folder == with_file != plain
    assert with_folder
