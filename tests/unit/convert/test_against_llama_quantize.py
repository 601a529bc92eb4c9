"""The oracle: llama.cpp's own quantizer, run on our F32 file, must make the same tensors, byte for byte."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from phi4local import errors
from phi4local.convert import (
    QUANTIZATIONS,
    TargetOptions,
    TypeChoices,
    convert_checkpoint,
    convert_to_several,
    plan_conversion,
)
from phi4local.planning.recipes import TERNARY
from tests.llama_quantize import Job, Outcome, quantize, random_columns, write_imatrix_gguf
from tests.random_checkpoint import NANO, Size, write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

QUANTIZED = [name for name in QUANTIZATIONS if name not in ("F32", "F16", "BF16")]
NEED_IMATRIX = {"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "Q2_K_S", "IQ3_XXS", "IQ3_XS"}
PLAIN = [name for name in QUANTIZED if name not in NEED_IMATRIX]

SIZES = {
    "nano": None,
    "grouped": Size(hidden=256, feed_forward=256, layers=8, heads=8, kv_heads=2),
    "17-layers": Size(hidden=256, feed_forward=256, layers=17, heads=8, kv_heads=2),
    "rows-of-576": Size(hidden=576, feed_forward=768, layers=1, heads=9, kv_heads=3),
    "rows-of-40": Size(hidden=40, feed_forward=72, layers=3, heads=4, kv_heads=4),
    "tied": Size(hidden=256, feed_forward=256, layers=1, heads=2, kv_heads=1, tied=True),
    "mini": Size(  # Phi-4-mini's kind: LongRoPE, partial rotation, tied, three heads to a KV head
        hidden=768,
        feed_forward=256,
        layers=1,
        heads=6,
        kv_heads=2,
        tied=True,
        rotary_share=0.75,
        original_context=128,
    ),
    "14B": Size(  # a twentieth of Phi-4's widths, two layers, and all rows of its embedding
        hidden=256, feed_forward=768, layers=2, heads=4, kv_heads=1, vocabulary_tokens=100_352
    ),
    "tied-576": Size(hidden=576, feed_forward=640, layers=1, heads=9, kv_heads=3, tied=True),
}

# ggml builds tables for IQ1 and IQ2 in ten seconds, and works on a million weights of IQ types for one.
SLOW_TYPES = {"IQ1_S", "IQ1_M"}
FAST_ON_NANO = {"Q4_K_M", "Q6_K", "Q8_0", "Q3_K_L"}


IQ2_AND_IQ3_IN = {"IQ2_XXS": ("tied",)}


def is_slow(case: str, name: str) -> bool:
    if case == "14B" or (case == "mini" and name not in FAST_ON_NANO):
        return True
    if name.startswith(("IQ2", "IQ3")):
        return case not in IQ2_AND_IQ3_IN.get(name, ("tied",) if name[2] == "3" else ())
    return name in SLOW_TYPES or case == "17-layers" or (case == "nano" and name not in FAST_ON_NANO)


def group_of(case: str, name: str) -> str:
    return name if is_slow(case, name) else "fast"


def pairs(names: list[str]) -> list[object]:
    return [
        pytest.param(case, name, marks=[pytest.mark.full] if is_slow(case, name) else [])
        for case in SIZES
        for name in names
        if case != "14B" or names is QUANTIZED or name in FAST_ON_NANO
    ]


class Maker:
    """Make both files of a case: one slow quantization, or all others, weighted or not."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory

    @functools.cache  # noqa: B019 - lives as long as the module's tests
    def source(self, case: str) -> Path:
        folder = self._factory.mktemp(case)
        size = SIZES[case]
        checkpoint = write_random_checkpoint(folder, size, shards=2, seed=7) if size else NANO
        convert_checkpoint(checkpoint, folder / "f32.gguf", "F32")
        lengths = {
            tensor.name: tensor.shape[-1]
            for tensor in plan_conversion(checkpoint, "F32").tensors
            if len(tensor.shape) > 1 and tensor.name.startswith("blk.")
        }
        columns = random_columns(lengths)
        np.savez(folder / "columns.npz", **columns)
        write_imatrix_gguf(folder / "imatrix.gguf", columns)
        return folder

    @functools.cache  # noqa: B019
    def make(self, case: str, group: str, weighted: bool) -> Path:
        folder = self.source(case)
        checkpoint = folder if SIZES[case] else NANO
        names = [name for name in (QUANTIZED if weighted else PLAIN) if group_of(case, name) == group]
        suffix = "weighted" if weighted else "plain"
        options = TargetOptions(imatrix=folder / "imatrix.gguf" if weighted else None)
        ours = {name: folder / f"ours-{name}-{suffix}.gguf" for name in names}
        convert_to_several(checkpoint, ours, target=options)
        imatrix = str(folder / "columns.npz") if weighted else None
        jobs = [Job(name, str(folder / f"theirs-{name}-{suffix}.gguf"), imatrix) for name in names]
        assert all(outcome.made for outcome in quantize(folder / "f32.gguf", jobs))
        return folder


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory)


def assert_same(our_file: Path, their_file: Path) -> None:
    ours, theirs = gguf.GGUFReader(our_file), gguf.GGUFReader(their_file)
    assert [tensor.name for tensor in ours.tensors] == [tensor.name for tensor in theirs.tensors]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert mine.tensor_type == other.tensor_type, mine.name
        assert mine.shape.tolist() == other.shape.tolist(), mine.name
        assert np.array_equal(mine.data.view(np.uint8), other.data.view(np.uint8)), mine.name
    assert ours.fields["general.file_type"].contents() == theirs.fields["general.file_type"].contents()


@pytest.mark.parametrize(("case", "quantization"), pairs(PLAIN))
def test_same_tensors_and_metadata(case: str, quantization: str, maker: Maker) -> None:
    folder = maker.make(case, group_of(case, quantization), weighted=False)
    our_file = folder / f"ours-{quantization}-plain.gguf"
    their_file = folder / f"theirs-{quantization}-plain.gguf"
    assert_same(our_file, their_file)
    assert our_file.stat().st_size == their_file.stat().st_size
    if quantization != "Q4_K_M":
        return  # the keys do not depend on it, apart from general.file_type below
    ours, theirs = gguf.GGUFReader(our_file), gguf.GGUFReader(their_file)
    assert ours.data_offset == theirs.data_offset
    keys = [key for key in theirs.fields if not key.startswith("GGUF.")]
    assert set(keys) == {key for key in ours.fields if not key.startswith("GGUF.")}
    for key in keys:
        assert ours.fields[key].contents() == theirs.fields[key].contents(), key
        assert ours.fields[key].types == theirs.fields[key].types, key


@pytest.mark.parametrize(("case", "quantization"), pairs(QUANTIZED))
def test_same_tensors_with_an_imatrix(case: str, quantization: str, maker: Maker) -> None:
    folder = maker.make(case, group_of(case, quantization), weighted=True)
    assert_same(
        folder / f"ours-{quantization}-weighted.gguf", folder / f"theirs-{quantization}-weighted.gguf"
    )


@pytest.mark.parametrize("case", ["grouped", "tied"])
def test_the_library_refuses_what_we_refuse(case: str, maker: Maker) -> None:
    folder = maker.source(case)
    outcomes = quantize(folder / "f32.gguf", [Job(name, str(folder / "no.gguf")) for name in NEED_IMATRIX])
    for name, outcome in zip(NEED_IMATRIX, outcomes, strict=True):
        if outcome.made:  # IQ3_XS of a single layer has no middle, where it would use IQ3_XXS
            assert plan_conversion(folder, name).unweighted == ()
            continue
        with pytest.raises(errors.MissingImatrixError, match="importance matrix") as caught:
            plan_conversion(folder, name)
        assert caught.value.tensor == outcome.offending, name
        assert "--imatrix" in caught.value.hint


CHOICES = {
    "pure": ("Q4_K_M", TypeChoices(pure=True)),
    "pure tied rows": ("Q3_K_M", TypeChoices(pure=True, output="Q8_0")),
    "output": ("Q4_K_M", TypeChoices(output="Q8_0")),
    "embedding": ("Q4_0", TypeChoices(embedding="Q8_0")),
    "output of F16": ("F16", TypeChoices(output="Q8_0", embedding="Q8_0")),
    "both": ("Q2_K", TypeChoices(output="F16", embedding="BF16")),
    "first match": ("Q4_0", TypeChoices(overrides=(("ffn_(up|down)", "Q5_0"), ("ffn_up", "Q8_0")))),
    # llama-quantize does not count tensors that an override decides: later layers move up.
    "override shifts layers": ("Q4_K_M", TypeChoices(overrides=((r"blk\.[01]\.ffn_down", "Q3_K"),))),
    "overrides of output": ("Q4_K_S", TypeChoices(overrides=(("^output", "Q5_1"), ("token_embd", "Q4_1")))),
    "overrides before the option": ("Q4_K_S", TypeChoices(output="Q8_0", overrides=(("output", "Q4_1"),))),
    "overrides with pure": ("Q5_K_M", TypeChoices(pure=True, overrides=(("attn", "MXFP4"),))),
    "overrides of F16 do nothing": ("F16", TypeChoices(overrides=(("attn", "Q8_0"),))),
    "norms are never touched": ("Q8_0", TypeChoices(overrides=(("norm", "Q4_0"), (".", "F16")))),
}


@pytest.mark.parametrize("case", ["grouped", "tied", "rows-of-576"])
def test_type_options_mean_what_they_mean_there(case: str, maker: Maker) -> None:
    folder = maker.source(case)
    jobs = [
        Job(name, "", None, choice.pure, choice.output, choice.embedding, choice.overrides, dry_run=True)
        for name, choice in CHOICES.values()
    ]
    outcomes = quantize(folder / "f32.gguf", jobs)
    for what, outcome in zip(CHOICES, outcomes, strict=True):
        assert outcome.made, what
        name, choice = CHOICES[what]
        plan = plan_conversion(folder, name, options=TargetOptions(choices=choice))
        assert {tensor.name: tensor.type for tensor in plan.tensors} == outcome.types, what


@pytest.mark.parametrize("quantization", TERNARY)
def test_ternary_types(quantization: str, maker: Maker) -> None:
    folder = maker.source("grouped")
    with pytest.raises(errors.InvalidSettingError, match="becomes noise"):
        plan_conversion(folder, quantization)
    ours, theirs = folder / f"ours-{quantization}.gguf", folder / f"theirs-{quantization}.gguf"
    convert_checkpoint(folder, ours, quantization, target=TargetOptions(ternary=True))
    assert quantize(folder / "f32.gguf", [Job(quantization, str(theirs))])[0].made
    assert_same(ours, theirs)


def test_mxfp4_by_an_override(maker: Maker) -> None:
    folder = maker.source("grouped")
    overrides = (("ffn_up", "MXFP4"), ("ffn_down", "IQ4_NL"))
    ours, theirs = folder / "ours-override.gguf", folder / "theirs-override.gguf"
    options = TargetOptions(choices=TypeChoices(overrides=overrides))
    convert_checkpoint(folder, ours, "Q8_0", target=options)
    assert quantize(folder / "f32.gguf", [Job("Q8_0", str(theirs), overrides=overrides)])[0].made
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("rows-of-576", {"Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q4_0"}),
        ("rows-of-40", {"F16"}),
        ("grouped", {"Q4_K", "Q5_K", "Q6_K", "Q3_K", "Q2_K", "IQ3_S", "IQ4_XS", "IQ4_NL"}),
    ],
)
def test_sizes_reach_every_branch(case: str, expected: set[str], maker: Maker) -> None:
    folder = maker.source(case)
    found = {tensor.type for name in PLAIN for tensor in plan_conversion(folder, name).tensors}
    assert expected <= found


def test_an_outcome_is_read_from_the_log() -> None:
    outcome = Outcome(made=False, types={}, log="  - offending tensor: blk.0.ffn_up.weight\n@@code 1\n")
    assert outcome.offending == "blk.0.ffn_up.weight"
