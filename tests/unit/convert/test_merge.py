"""Merging LoRA adapters: every tensor as PEFT's `merge_and_unload` makes it, whatever the layouts.

tests/golden/make_merged.py made the adapters and the expected numbers with peft, transformers and torch.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from phi4local import errors
from phi4local.convert import AdapterUse, convert_checkpoint, plan_conversion, rows
from phi4local.engine.model import LoadedModel, ModelFile
from phi4local.settings import LoadSettings
from tests.peft_folders import ADAPTERS, copied, fill, rename, resize, zero
from tests.random_checkpoint import Size, config, write_json, write_random_checkpoint, write_weights

GOLDEN = Path(__file__).parents[2] / "golden"
BASE = Size(hidden=32, feed_forward=48, layers=1)  # as in make_merged.py
TOKENS = [5, 70, 256, 9, 33, 120, 7, 288]
NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output.weight": "lm_head.weight",
    "blk.0.attn_qkv.weight": "model.layers.0.self_attn.qkv_proj.weight",
    "blk.0.attn_output.weight": "model.layers.0.self_attn.o_proj.weight",
    "blk.0.ffn_up.weight": "model.layers.0.mlp.gate_up_proj.weight",
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
}
USES = {
    "lora at a half": [AdapterUse(ADAPTERS / "lora", 0.5)],
    "lora then dora": [AdapterUse(ADAPTERS / "lora"), AdapterUse(ADAPTERS / "dora")],
} | {folder.name: [AdapterUse(folder)] for folder in ADAPTERS.iterdir()}


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "merged.npz") as found:
        return {name: found[name] for name in found}


@pytest.fixture(scope="module")
def phi3(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("phi3") / "c", BASE, dtype="F32")


@pytest.fixture(scope="module")
def llama(phi3, tmp_path_factory):
    """The same weights in Llama's layout."""
    folder = Path(shutil.copytree(phi3, tmp_path_factory.mktemp("llama") / "c"))
    weights: dict[str, np.ndarray] = {}
    for name, value in load_file(phi3 / "model.safetensors").items():
        for fused, letters, rows_of in (("qkv", "qkv", [32, 48]), ("gate_up", ("gate", "up"), [48])):
            if f"{fused}_proj" in name:
                parts = np.split(value, rows_of)
                weights |= {
                    name.replace(fused, part): rows for part, rows in zip(letters, parts, strict=True)
                }
                break
        else:
            weights[name] = value
    write_weights(folder, weights, "F32")
    write_json(folder / "config.json", config(replace(BASE, layout="llama"), 301))
    return folder


@pytest.fixture
def adapter(tmp_path):
    """`adapter("lora", r=3)`: a copy with another config; `tensors=` changes its tensors by name."""

    def make(name, tensors=None, **values):
        return AdapterUse(copied(name, tmp_path, tensors, **values))

    return make


def tensors(path):
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("layout", ["phi3", "llama"])
@pytest.mark.parametrize("name", USES)
def test_as_peft_merges(name, layout, golden, phi3, llama, tmp_path):
    base = phi3 if layout == "phi3" else llama
    convert_checkpoint(base, tmp_path / "plain.gguf", "F32")
    convert_checkpoint(base, tmp_path / "m.gguf", "F32", adapters=USES[name])
    before, found = tensors(tmp_path / "plain.gguf"), tensors(tmp_path / "m.gguf")
    assert found.keys() == before.keys()
    changed = 0
    for tensor, value in found.items():
        expected = golden.get(f"{name}/{NAMES.get(tensor)}")
        if expected is None:
            assert np.array_equal(value, before[tensor]), tensor
        else:
            assert np.abs(value - expected).max() <= 1e-6, tensor
            assert np.abs(value - before[tensor]).max() > 1e-3, tensor
            changed += 1
    assert changed == sum(key.startswith(f"{name}/") and "logits" not in key for key in golden)


@pytest.mark.usefixtures("native_library")
@pytest.mark.parametrize("name", [folder.name for folder in sorted(ADAPTERS.iterdir())])
def test_logits_of_the_merged_model(name, golden, phi3, tmp_path):
    convert_checkpoint(phi3, tmp_path / "m.gguf", "F32", adapters=USES[name])
    file = ModelFile(path=tmp_path / "m.gguf", trained_context_tokens=BASE.context, layers=1)
    model = LoadedModel(file, LoadSettings(kv_type="f32", threads=1))
    try:
        model.context.decode(TOKENS, 0)
        logits = np.ctypeslib.as_array(model.context.logits(), (301,)).copy()
    finally:
        model.close()
    expected = golden[f"{name}/logits"][-1]
    assert np.abs(logits - expected).max() <= 1e-4
    assert np.ptp(expected) > 0.1


def test_merging_comes_before_quantizing(golden, phi3, tmp_path):
    convert_checkpoint(phi3, tmp_path / "m.gguf", "Q8_0", adapters=USES["dora"])
    expected = golden["dora/model.layers.0.self_attn.qkv_proj.weight"]
    packed = gguf.quants.quantize(expected, gguf.GGMLQuantizationType.Q8_0)
    found = tensors(tmp_path / "m.gguf")["blk.0.attn_qkv.weight"]
    assert np.mean(packed == found) > 0.99  # the last bit of a sum may round the other way


def test_bytes_do_not_depend_on_chunks(llama, tmp_path, monkeypatch):
    found = set()
    for chunk in (2**20, 64, 1):
        monkeypatch.setattr(rows, "CHUNK_ELEMENTS", chunk)
        convert_checkpoint(llama, tmp_path / f"{chunk}.gguf", "F16", adapters=USES["dora"], threads=2)
        found.add((tmp_path / f"{chunk}.gguf").read_bytes())
    assert len(found) == 1


def test_an_output_of_its_own_for_tied_embeddings(tmp_path):
    """The adapter brings both matrices, so the model has two afterwards."""
    tied = write_random_checkpoint(tmp_path / "c", replace(BASE, tied=True), dtype="F32")
    convert_checkpoint(tied, tmp_path / "m.gguf", "F32", adapters=USES["modules"])
    saved = load_file(ADAPTERS / "modules" / "adapter_model.safetensors")
    found = tensors(tmp_path / "m.gguf")
    assert np.array_equal(found["output.weight"], saved["base_model.model.lm_head.weight"])
    assert np.array_equal(found["token_embd.weight"], saved["base_model.model.model.embed_tokens.weight"])


def test_half_of_tied_embeddings_is_refused(adapter, tmp_path):
    tied = write_random_checkpoint(tmp_path / "c", replace(BASE, tied=True), dtype="F32")
    for use in (
        AdapterUse(ADAPTERS / "outer"),
        adapter("modules", lambda found: found.pop("base_model.model.lm_head.weight")),
    ):
        with pytest.raises(errors.AdapterError, match="embedding and output of this model at once"):
            plan_conversion(tied, "F32", adapters=[use])


QKV = "base_model.model.model.layers.0.self_attn.qkv_proj.lora_"


BAD = {
    "another layer": ({"tensors": rename("layers.0", "layers.1")}, "changes `model.layers.1.*does not have"),
    "another module": ({"tensors": rename("o_proj", "dense")}, "changes `model.layers.0.self_attn.dense`"),
    "part of another": ({"tensors": rename("o_proj", "k_proj")}, "is for a matrix of .*, the model's is"),
    "too wide": (
        {"tensors": resize(QKV + "A.weight", 4, 33)},
        r"matrix of \(64, 33\), the model's is \(64, 32\)",
    ),
    "too many rows": ({"tensors": resize(QKV + "B.weight", 65, 4)}, r"matrix of \(65, 32\)"),
    "no common rank": ({"tensors": resize(QKV + "B.weight", 64, 3)}, "do not fit"),
    "another rank": ({"r": 5}, "has the rank 4, its config says 5"),
    "B is zero": ({"tensors": zero("lora_B.weight")}, "changes nothing"),
    "A is zero": ({"tensors": zero("lora_A.weight")}, "changes nothing"),
    "alpha is zero": ({"lora_alpha": 0}, "changes nothing"),
    "no B": ({"tensors": lambda found: found.pop(QKV + "B.weight")}, "one of the matrices A and B only"),
    "no A": ({"tensors": lambda found: found.pop(QKV + "A.weight")}, "one of the matrices A and B only"),
    "DoRA without magnitudes": ({"use_dora": True}, "use_dora and its tensors contradict"),
    "another kind": ({"peft_type": "LOHA"}, "of the kind LOHA"),
    "no kind": ({"peft_type": None}, "of the kind None"),
    "biases": ({"bias": "all"}, "changes biases"),
    "LoRA biases": ({"lora_bias": True}, "uses lora_bias"),
    "tokens": ({"trainable_token_indices": [1]}, "uses trainable_token_indices"),
    "more layers": ({"layer_replication": [[0, 1]]}, "uses layer_replication"),
    "pissa": ({"init_lora_weights": "pissa_niter_4"}, "changes the base model too"),
    "alpha is a text": ({"lora_alpha": "8"}, "lora_alpha is 8"),
    "pattern is a list": ({"rank_pattern": [1]}, "rank_pattern is no table"),
    "pattern is no expression": ({"alpha_pattern": {"(": 1}}, "has the pattern"),
    "pattern that never ends": ({"alpha_pattern": {"(a+)+x": 1}}, "too complex"),
    "unknown tensor": ({"tensors": rename("o_proj.lora_A.weight", "o_proj.lora_C")}, "unknown kind"),
    "NaN": ({"tensors": fill(QKV + "B.weight", np.nan)}, "holds NaN or infinity"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_adapters(name, adapter, phi3, tmp_path):
    changes, says = BAD[name]
    (tmp_path / "out").mkdir()
    use = adapter("lora", **changes)
    with pytest.raises(errors.AdapterError, match=says) as caught:
        convert_checkpoint(phi3, tmp_path / "out" / "m.gguf", "F32", adapters=[use])
    assert str(use.folder) in str(caught.value)
    assert caught.value.hint
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors", None])
def test_folders_that_are_no_adapter(missing, adapter, phi3):
    use = adapter("lora")
    if missing:
        (use.folder / missing).unlink()
    else:
        shutil.rmtree(use.folder)
    with pytest.raises(errors.AdapterError, match=missing or "is no folder"):
        plan_conversion(phi3, "F32", adapters=[use])


def test_a_damaged_adapter_file(adapter, phi3):
    use = adapter("lora")
    path = use.folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(errors.AdapterError, match="truncated"):
        plan_conversion(phi3, "F32", adapters=[use])


def test_a_whole_tensor_has_no_scale(phi3):
    with pytest.raises(errors.AdapterError, match=r"cannot be merged at 0\.5"):
        plan_conversion(phi3, "F32", adapters=[AdapterUse(ADAPTERS / "modules", 0.5)])


def test_one_adapter_may_not_undo_another(phi3):
    uses = [AdapterUse(ADAPTERS / "outer"), AdapterUse(ADAPTERS / "modules")]
    with pytest.raises(errors.AdapterError, match="which another adapter changed"):
        plan_conversion(phi3, "F32", adapters=uses)


@pytest.mark.parametrize(
    ("text", "folder", "strength"),
    [
        ("./a", "a", 1.0),
        ("./a:0.5", "a", 0.5),
        ("a:-1", "a", -1.0),
        ("C:\\a", "C:\\a", 1.0),
        (":2", ":2", 1.0),
    ],
)
def test_adapter_and_scale(text, folder, strength):
    assert AdapterUse.parse(text) == AdapterUse(Path(folder), strength)


@pytest.mark.parametrize("scale", ["0", "nan", "inf"])
def test_scales_that_mean_nothing(scale):
    with pytest.raises(errors.InvalidSettingError, match="finite number other than 0"):
        AdapterUse.parse(f"adapter:{scale}")


def test_the_command(run_cli, golden, phi3, tmp_path):
    arguments = ["-q", "F32", "-o", tmp_path / "m.gguf", "--merge", f"{ADAPTERS / 'lora'}:0.5"]
    done = run_cli(["convert", phi3, *arguments])
    assert done.returncode == 0, done.stderr
    expected = golden["lora at a half/model.layers.0.mlp.down_proj.weight"]
    assert np.abs(tensors(tmp_path / "m.gguf")["blk.0.ffn_down.weight"] - expected).max() <= 1e-6
    assert "merged lora:0.5" in done.stderr
    assert gguf.GGUFReader(tmp_path / "m.gguf").fields["phi4local.merged"].contents() == ["lora:0.5"]
    for name in ("none", "x" * 300, "x" * 300 + ":0.5"):
        refused = run_cli(["convert", phi3, "--merge", tmp_path / name], cwd=tmp_path)
        assert refused.returncode == 1
        assert [line.partition(":")[0] for line in refused.stderr.splitlines()] == ["error", "hint"]
        assert "internal" not in refused.stderr
