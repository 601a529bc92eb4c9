"""Checkpoints in other layouts than Phi-4's own: what they hold arrives in the file, row for row."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from phi4local import errors
from phi4local import gguf as our_gguf
from phi4local.convert import convert_checkpoint, plan_conversion
from tests.random_checkpoint import (
    Size,
    config,
    long_rope_tables,
    shapes,
    write_json,
    write_random_checkpoint,
    write_weights,
)

if TYPE_CHECKING:
    from pathlib import Path

LLAMA = Size(layout="llama")
MINI = Size(hidden=96, heads=3, kv_heads=1, tied=True, context=8192, original_context=256, rotary_share=0.75)


def tensors(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: np.array(tensor.data) for tensor in gguf.GGUFReader(path).tensors}


def keys(path: Path) -> dict[str, object]:
    reader = gguf.GGUFReader(path)
    return {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("c") / "llamafied", LLAMA, dtype="F32")


def test_llama_layout_is_put_together_row_for_row(llama: Path, tmp_path: Path) -> None:
    convert_checkpoint(llama, tmp_path / "m.gguf", "F32")
    found, source = tensors(tmp_path / "m.gguf"), weights(llama)
    for layer in range(LLAMA.layers):
        at = f"model.layers.{layer}."
        joined = {
            "attn_qkv": [source[f"{at}self_attn.{letter}_proj.weight"] for letter in "qkv"],
            "ffn_up": [source[f"{at}mlp.{name}_proj.weight"] for name in ("gate", "up")],
        }
        for name, parts in joined.items():
            assert np.array_equal(found[f"blk.{layer}.{name}.weight"], np.concatenate(parts)), name
    our_gguf.validate(tmp_path / "m.gguf")


@pytest.mark.parametrize("quantization", ["F32", "Q8_0", "Q4_K_M"])
def test_llama_and_phi3_layouts_of_one_model_make_one_file(
    quantization: str, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With chunks of 7 rows, which begin and end inside the parts."""
    monkeypatch.setattr("phi4local.convert.rows.CHUNK_ELEMENTS", 7 * LLAMA.hidden)
    source = weights(llama)
    size = Size()
    fused = {}
    for name in shapes(size, source["lm_head.weight"].shape[0]):
        names = [name]
        for last, parts in {"qkv": ("q", "k", "v"), "gate_up": ("gate", "up")}.items():
            if f"{last}_proj" in name:
                names = [name.replace(last, part) for part in parts]
        fused[name] = np.concatenate([source[part] for part in names])
    (tmp_path / "fused").mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "fused" / name).write_bytes((llama / name).read_bytes())
    write_json(tmp_path / "fused" / "config.json", config(size, source["lm_head.weight"].shape[0]))
    write_weights(tmp_path / "fused", fused, "F32")
    convert_checkpoint(tmp_path / "fused", tmp_path / "fused.gguf", quantization)
    convert_checkpoint(llama, tmp_path / "llama.gguf", quantization)
    ours, theirs = tensors(tmp_path / "llama.gguf"), tensors(tmp_path / "fused.gguf")
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    name = {"general.name": ""}
    assert keys(tmp_path / "llama.gguf") | name == keys(tmp_path / "fused.gguf") | name


def test_parts_of_different_types_are_widened(tmp_path: Path) -> None:
    """Some tools keep single matrices in float32; float32 holds the bfloat16 of the others exactly."""
    from tests.random_checkpoint import stored, write_safetensors

    folder = write_random_checkpoint(tmp_path / "c", LLAMA, dtype="F32")
    source = weights(folder)
    (folder / "model.safetensors").unlink()
    odd = {name: array for name, array in source.items() if name.endswith("k_proj.weight")}
    rest = {name: stored(array, "BF16") for name, array in source.items() if name not in odd}
    write_safetensors(folder / "model-00001-of-00002.safetensors", odd, "F32")
    write_safetensors(folder / "model-00002-of-00002.safetensors", rest, "BF16")
    placed = dict.fromkeys(odd, "model-00001-of-00002.safetensors")
    placed |= dict.fromkeys(rest, "model-00002-of-00002.safetensors")
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": placed})
    convert_checkpoint(folder, tmp_path / "m.gguf", "F32")

    def exact(name: str) -> np.ndarray:
        if name in odd:
            return odd[name]
        return (rest[name].astype(np.uint32) << 16).view(np.float32)

    at = "model.layers.1.self_attn."
    expected = np.concatenate([exact(f"{at}{letter}_proj.weight") for letter in "qkv"])
    assert np.array_equal(tensors(tmp_path / "m.gguf")["blk.1.attn_qkv.weight"], expected)


def test_a_bad_weight_of_a_part_is_named_by_the_part(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c", LLAMA, dtype="F32")
    source = weights(folder)
    source["model.layers.1.self_attn.k_proj.weight"].reshape(-1)[[5, 9]] = np.nan
    write_weights(folder, source, "F32")
    with pytest.raises(errors.NonFiniteWeightError) as caught:
        convert_checkpoint(folder, tmp_path / "m.gguf", "Q8_0")
    assert caught.value.tensor == "model.layers.1.self_attn.k_proj.weight"
    assert (caught.value.count, caught.value.first_index) == (2, 5)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c", LLAMA, dtype="F32")
    source = weights(folder)
    del source["model.layers.0.mlp.up_proj.weight"]
    write_weights(folder, source, "F32")
    with pytest.raises(errors.UnknownTensorError, match=r"layers\.0\.mlp\.up_proj\.weight.*is missing"):
        plan_conversion(folder, "Q8_0")


def test_long_rope_tables_and_attention_factor(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c", MINI)
    convert_checkpoint(folder, tmp_path / "m.gguf", "Q8_0")
    found, tables = tensors(tmp_path / "m.gguf"), long_rope_tables(12)
    for which in ("long", "short"):
        stored = found[f"rope_factors_{which}.weight"]
        assert stored.dtype == np.float32
        assert np.array_equal(stored, np.array(tables[f"{which}_factor"], np.float32))
    metadata = keys(tmp_path / "m.gguf")
    assert metadata["phi3.rope.dimension_count"] == 24  # three quarters of a head of 32
    assert metadata["phi3.rope.scaling.original_context_length"] == 256
    assert metadata["phi3.rope.scaling.attn_factor"] == pytest.approx(
        math.sqrt(1 + math.log(8192 / 256) / math.log(256))
    )
    assert "output.weight" not in found
    our_gguf.validate(tmp_path / "m.gguf")
    assert plan_conversion(folder, "Q8_0").parameters == sum(array.size for array in weights_of(folder))


def weights_of(folder: Path) -> list[np.ndarray]:
    source = json.loads((folder / "config.json").read_text())
    return [np.zeros(shape) for shape in shapes(MINI, source["vocab_size"]).values()]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, math.sqrt(1 + math.log(32) / math.log(256))),
        ({"type": "su"}, math.sqrt(1 + math.log(32) / math.log(256))),
        ({"type": "yarn"}, math.sqrt(1 + math.log(32) / math.log(256))),
        ({"attention_factor": 1.25}, 1.25),
        ({"factor": 4.0}, math.sqrt(1 + math.log(4) / math.log(256))),
        ({"factor": 1.0}, 1.0),
        ({"original_max_position_embeddings": 256}, math.sqrt(1 + math.log(32) / math.log(256))),
    ],
)
def test_attention_factor_is_the_one_of_transformers(
    change: dict[str, object], expected: float, tmp_path: Path
) -> None:
    folder = write_random_checkpoint(tmp_path / "c", MINI)
    values = json.loads((folder / "config.json").read_text())
    values["rope_scaling"] |= change
    write_json(folder / "config.json", values)
    found = {entry.key: entry.value for entry in plan_conversion(folder, "Q8_0").metadata}
    assert found["phi3.rope.scaling.attn_factor"] == pytest.approx(expected, rel=1e-12)


def test_an_output_matrix_beside_tied_embeddings_is_kept(tmp_path: Path) -> None:
    """transformers ties only equal matrices, llama.cpp uses the output matrix that is there."""
    folder = write_random_checkpoint(tmp_path / "c")
    values = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", values | {"tie_word_embeddings": True})
    assert "output.weight" in {tensor.name for tensor in plan_conversion(folder, "Q8_0").tensors}


@pytest.mark.parametrize("field", ["architectures", "model_type"])
@pytest.mark.parametrize("value", [None, ["Phi3ForSequenceClassification"]])
def test_the_name_of_a_class_decides_nothing(field: str, value: object, tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    values = json.loads((folder / "config.json").read_text())
    if field == "architectures" or value is None:
        write_json(folder / "config.json", values | {field: value})
    assert len(plan_conversion(folder, "Q8_0").tensors) == 15


def test_fields_that_change_nothing_are_ignored(tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / "c")
    values = json.loads((folder / "config.json").read_text())
    before = plan_conversion(folder, "Q8_0").metadata
    more = {"unsloth_fixed": True, "unsloth_version": "2026.1", "_attn_implementation": "sdpa"}
    more |= {"attention_dropout": 0.0, "full_attn_mod": 1, "interpolate_factor": 1, "num_experts": None}
    more |= {"layer_types": ["full_attention"] * 2, "pretraining_tp": 1, "use_sliding_window": False}
    write_json(folder / "config.json", values | more)
    assert plan_conversion(folder, "Q8_0").metadata == before
