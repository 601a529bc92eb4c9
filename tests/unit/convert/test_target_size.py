"""`convert --target-size`, `--fit` and `--recipe`: the size that was wished for, and less lost in it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest

from phi4local import errors, gguf
from phi4local.bench.quality.measure import Reading, measure
from phi4local.bench.quality.subjects import find_subject
from phi4local.bench.quality.text import write_held_out
from phi4local.convert import (
    TargetOptions,
    TypeChoices,
    convert_checkpoint,
    plan_conversion,
    plan_conversions,
)
from phi4local.convert.fitting import choose_for_size, read_recipe, recipe_text
from phi4local.convert.fitting.errors import measure_errors
from phi4local.hardware import Gpu, Machine
from phi4local.native.ggml import dequantize_rows, quantize_rows
from phi4local.runtime.room import room_for
from phi4local.settings import LoadSettings
from tests.llama_quantize import random_columns, write_imatrix_gguf
from tests.random_checkpoint import NANO, Size, write_random_checkpoint

pytestmark = pytest.mark.usefixtures("native_library")
SIZES = (4_000_000, 6_885_888)


@pytest.fixture(scope="module")
def choices():
    return {size: choose_for_size(NANO, size) for size in SIZES}


@pytest.mark.parametrize("size", SIZES)
def test_the_file_has_the_size_and_the_types(choices, size, tmp_path):
    choice = choices[size]
    assert 0.995 * size <= choice.size_bytes <= size
    summary = convert_checkpoint(NANO, tmp_path / "m.gguf", choice.quantization, target=choice.options)
    assert summary.size_bytes == (tmp_path / "m.gguf").stat().st_size == choice.size_bytes
    header = gguf.validate(tmp_path / "m.gguf")
    stored = {tensor.name: tensor.type.name for tensor in header.tensors}
    assert {name: stored[name] for name in choice.by_tensor} == choice.by_tensor
    assert all(kind == "F32" for name, kind in stored.items() if name not in choice.by_tensor)


def test_more_bytes_never_lose_more_and_no_mix_is_better(choices):
    estimates = [choices[size].divergence for size in SIZES]
    assert estimates == sorted(estimates, reverse=True)
    for size, choice in choices.items():
        assert choice.divergence <= choice.mix_divergence or choice.mix_bytes > size
        assert choice.mix_bytes <= size or choice.quantization == "Q2_K"


def test_the_text_is_expected_as_the_estimate_says(choices, tmp_path):
    """At the size of Q4_K_M, less is lost than there, by far more than the ten per cent of the bar."""
    text, settings = write_held_out(tmp_path), LoadSettings(context_tokens=512, threads=1)
    choice = choices[6_885_888]
    convert_checkpoint(NANO, tmp_path / "base.gguf", "F32")
    convert_checkpoint(NANO, tmp_path / "mix.gguf", "Q4_K_M")
    convert_checkpoint(NANO, tmp_path / "ours.gguf", choice.quantization, target=choice.options)
    base, mix, ours = (find_subject(str(tmp_path / f"{n}.gguf"), settings) for n in ("base", "mix", "ours"))
    _, mix_row, our_row = measure([mix, ours], Reading(text=text, chunks=3), base=base, count=3)
    assert our_row.size_bytes <= mix_row.size_bytes
    assert our_row.divergence.kl.value < 0.9 * mix_row.divergence.kl.value
    assert our_row.divergence.kl.value == pytest.approx(choice.divergence, rel=0.5)


def test_errors_are_those_of_ggml(tmp_path):
    size = Size(hidden=256, feed_forward=512, layers=1, heads=2, kv_heads=1)
    folder = write_random_checkpoint(tmp_path / "c", size, dtype="F32")
    plan = plan_conversion(folder, "F32")
    tensor = next(t for t in plan.tensors if t.name == "blk.0.ffn_down.weight")
    rows = np.fromfile(tensor.source.shard, np.float32, tensor.elements, offset=tensor.source.offset)
    rows = rows.reshape(tensor.shape)
    importance = np.random.default_rng(1).uniform(0.1, 9, tensor.shape[-1]).astype(np.float32)
    for columns in ({}, {tensor.name: importance}):
        weights = columns.get(tensor.name)
        found = measure_errors(
            plan, {tensor.name: ("Q4_K", "IQ4_XS")}, threads=1, columns=columns, progress=lambda *_: None
        )
        for kind, share in found[tensor.name].items():
            back = dequantize_rows(kind, quantize_rows(kind, rows, weights), rows.shape[1]).reshape(
                rows.shape
            )
            scale = np.ones(rows.shape[1]) if weights is None else weights
            expected = (((rows - back) ** 2) * scale).sum() / ((rows**2) * scale).sum()
            assert share == pytest.approx(expected, rel=1e-4)


def test_an_importance_matrix_opens_smaller_types_and_what_a_person_set_stays(tmp_path):
    size = Size(hidden=256, feed_forward=256, layers=2, heads=2, kv_heads=1)
    folder = write_random_checkpoint(tmp_path / "c", size)
    lengths = {
        t.name: t.shape[-1]
        for t in plan_conversion(folder, "F32").tensors
        if t.name.startswith("blk.") and len(t.shape) > 1
    }
    write_imatrix_gguf(tmp_path / "imatrix.gguf", random_columns(lengths))
    smallest = plan_conversion(folder, "Q2_K").size_bytes
    plain = TargetOptions(imatrix=tmp_path / "imatrix.gguf")
    fixed = replace(plain, choices=TypeChoices(output="Q6_K", overrides=(("ffn_down", "Q8_0"),)))
    weighted = choose_for_size(folder, smallest, options=plain)
    assert set(weighted.by_tensor.values()) & {"IQ3_XXS", "IQ3_S"}
    convert_checkpoint(folder, tmp_path / "w.gguf", weighted.quantization, target=weighted.options)
    assert (tmp_path / "w.gguf").stat().st_size == weighted.size_bytes
    chosen = choose_for_size(folder, 2 * smallest, options=fixed)
    assert chosen.by_tensor["output.weight"] == "Q6_K"
    assert chosen.types["ffn_down"] == {"Q8_0": 2}


@pytest.mark.parametrize(
    "size",
    [
        Size(hidden=576, feed_forward=768, layers=1, heads=9, kv_heads=3, tied=True),
        Size(hidden=40, feed_forward=72, layers=1, heads=4, kv_heads=4),
    ],
    ids=["rows of 576, tied", "rows of 40"],
)
def test_rows_that_few_types_fit(size, tmp_path):
    folder = write_random_checkpoint(tmp_path / "c", size)
    most = plan_conversion(folder, "Q8_0").size_bytes
    choice = choose_for_size(folder, most)
    convert_checkpoint(folder, tmp_path / "m.gguf", choice.quantization, target=choice.options)
    assert (tmp_path / "m.gguf").stat().st_size == choice.size_bytes <= most


def test_a_recipe_makes_the_same_bytes(choices, tmp_path):
    choice = choices[4_000_000]
    path = tmp_path / "r.recipe.toml"
    path.write_text(recipe_text(choice))
    assert tomllib.loads(path.read_text())["target_bytes"] == 4_000_000
    quantization, options = read_recipe(path, TargetOptions())
    convert_checkpoint(NANO, tmp_path / "one.gguf", choice.quantization, target=choice.options)
    convert_checkpoint(NANO, tmp_path / "two.gguf", quantization, target=options)
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "two.gguf").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "", "quantization = 3\n[types]\na = 'Q4_K'\n", "quantization = 'Q4_K_M'\n", "[types", "\xff",
        "quantization = 'Q4_K_M'\n[types]\n'a b' = 'Q4_K'\n", "quantization = 'Q4_K_M'\n[types]\na = 4\n",
        "quantization = 'Q4_K_M'\ntypes = []\n", "a = " + "[" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(text, tmp_path):
    path = tmp_path / "r.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(errors.FileFormatError) as caught:
        read_recipe(path, TargetOptions())
    assert caught.value.hint


def test_the_commands(run_cli, tmp_path):
    folder = write_random_checkpoint(tmp_path / "c", Size(hidden=256, feed_forward=256, heads=2, kv_heads=1))
    size = plan_conversion(folder, "Q5_K_M").size_bytes
    made = run_cli(["convert", str(folder), "--target-size", f"{size / 1e6}MB", "-o", "m.gguf"], cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "reading the checkpoint twice" in made.stderr
    assert "estimated KL divergence" in made.stderr
    file, recipe = tmp_path / "m.gguf", tmp_path / "m.recipe.toml"
    assert 0.9 * size < file.stat().st_size <= size
    again = run_cli(["convert", str(folder), "--recipe", str(recipe), "-o", "again.gguf"], cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.gguf").read_bytes() == file.read_bytes()
    planned = run_cli(["convert", str(folder), "--fit", "--dry-run", "--json", "-c", "512"], cwd=tmp_path)
    assert json.loads(planned.stdout)[0]["size_bytes"] <= plan_conversion(folder, "Q8_0").size_bytes
    assert "this machine has room for" in planned.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--target-size", "1MB"], "too few for this model"),
        (["--target-size", "big"], "is 'big'"),
        (["--target-size", "7MB", "-q", "Q4_0"], "contradicts -q"),
        (["--target-size", "7MB", "--fit"], "contradicts --target-size"),
        (["--target-size", "7MB", "--pure"], "leaves no types to choose"),
        (["--context", "512"], "says nothing without `--fit`"),
        (["--recipe", "absent.toml"], "absent.toml"),
    ],
)
def test_wishes_that_cannot_be(run_cli, tmp_path, words, said):
    result = run_cli(["convert", str(NANO), *words], cwd=tmp_path)
    assert result.returncode == 1
    assert said in result.stderr
    assert result.stderr.count("error:") == result.stderr.count("hint:") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_room_beside_cache_and_buffers():
    largest, usual = (plan.size_bytes for plan in plan_conversions(NANO, ("Q8_0", "Q4_K_M")))
    wide = Machine(memory_bytes=2**34, available_bytes=2**34, cores=2)
    assert room_for(NANO, LoadSettings(), wide).file_bytes == largest
    tight = room_for(NANO, LoadSettings(context_tokens=512), replace(wide, available_bytes=2**28))
    tighter = room_for(NANO, LoadSettings(context_tokens=2048), replace(wide, available_bytes=2**28))
    assert tighter.file_bytes <= tight.file_bytes
    with pytest.raises(errors.NotEnoughMemoryError):
        room_for(NANO, LoadSettings(), replace(wide, available_bytes=2**20))
    gpu = Gpu(name="CUDA0", description="", back_end="CUDA", total_bytes=2**33, free_bytes=2**33)
    assert room_for(NANO, LoadSettings(), replace(wide, gpus=(gpu,))).place == "GPU"
    small = replace(gpu, free_bytes=usual // 2)
    assert room_for(NANO, LoadSettings(), replace(wide, gpus=(small,))).place == "memory"
