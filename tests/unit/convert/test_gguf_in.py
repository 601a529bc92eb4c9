"""A GGUF file as the source, whole or split, and split outputs."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from phi4local import errors, files
from phi4local.convert import TargetOptions, TypeChoices, convert_checkpoint, plan_conversion
from phi4local.gguf import validate
from tests.llama_quantize import Job, quantize
from tests.random_checkpoint import Size, write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

SIZE = Size(hidden=256, feed_forward=256, layers=2, heads=4, kv_heads=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint in `c`, and files of it in every precision that can be converted again."""
    folder = tmp_path_factory.mktemp("gguf-in")
    write_random_checkpoint(folder / "c", SIZE)
    for name in ("F32", "F16", "BF16", "Q8_0", "Q4_K_M"):
        convert_checkpoint(folder / "c", folder / f"{name}.gguf", name)
    return folder


def tensors(path: Path) -> dict[str, tuple[int, bytes]]:
    return {
        tensor.name: (int(tensor.tensor_type), tensor.data.tobytes())
        for tensor in gguf.GGUFReader(path).tensors
    }


@pytest.mark.parametrize("source", ["F32", "F16", "BF16", "Q8_0"])
@pytest.mark.parametrize("target", ["Q4_K_M", "Q3_K_M", "F32", "F16", "Q8_0"])
def test_the_same_as_llama_quantize(source: str, target: str, made: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    convert_checkpoint(made / f"{source}.gguf", ours, target)
    assert quantize(made / f"{source}.gguf", [Job(target, str(theirs), requantize=True)])[0].made
    assert tensors(ours) == tensors(theirs)
    mine, other = gguf.GGUFReader(ours), gguf.GGUFReader(theirs)
    keys = {key for key in other.fields if not key.startswith("GGUF.")}
    assert keys == {key for key in mine.fields if not key.startswith("GGUF.")}
    for key in keys:
        assert mine.fields[key].contents() == other.fields[key].contents(), key
        assert mine.fields[key].types == other.fields[key].types, key


def test_from_bf16_or_the_checkpoint_is_the_same_file(made: Path, tmp_path: Path) -> None:
    convert_checkpoint(made / "BF16.gguf", tmp_path / "again.gguf", "Q4_K_M")
    assert (tmp_path / "again.gguf").read_bytes() == (made / "Q4_K_M.gguf").read_bytes()


def test_quantized_files_are_not_quantized_again(made: Path) -> None:
    with pytest.raises(errors.ConversionError, match="is Q6_K already") as caught:
        plan_conversion(made / "Q4_K_M.gguf", "Q8_0")
    assert "checkpoint" in str(caught.value.hint)
    plan = plan_conversion(made / "Q4_K_M.gguf", "Q4_K_M")  # nothing changes its type
    assert plan.tensor_types == plan_conversion(made / "c", "Q4_K_M").tensor_types


def test_a_copy_has_the_same_bytes(made: Path, tmp_path: Path) -> None:
    convert_checkpoint(made / "Q4_K_M.gguf", tmp_path / "copy.gguf", "Q4_K_M")
    assert (tmp_path / "copy.gguf").read_bytes() == (made / "Q4_K_M.gguf").read_bytes()


def test_adapters_need_a_checkpoint(made: Path) -> None:
    from phi4local.convert import AdapterUse

    with pytest.raises(errors.AdapterError, match="GGUF file"):
        plan_conversion(made / "F16.gguf", "Q8_0", adapters=[AdapterUse(made / "c", 1.0)])


def test_the_source_is_not_overwritten(made: Path) -> None:
    before = (made / "F16.gguf").read_bytes()
    with pytest.raises(errors.FileWriteError):
        convert_checkpoint(made / "F16.gguf", made / "F16.gguf", "Q8_0", overwrite=True)
    assert (made / "F16.gguf").read_bytes() == before


def test_a_damaged_block_of_a_copied_tensor_is_found(made: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bad.gguf"
    data = bytearray((made / "Q4_K_M.gguf").read_bytes())
    tensor = next(t for t in gguf.GGUFReader(made / "Q4_K_M.gguf").tensors if t.name == "token_embd.weight")
    data[tensor.data_offset : tensor.data_offset + 2] = np.float16(np.nan).tobytes()
    copy.write_bytes(data)
    with pytest.raises(errors.ConversionError, match=r"token_embd\.weight"):
        convert_checkpoint(copy, tmp_path / "out.gguf", "Q4_K_M")
    assert not (tmp_path / "out.gguf").exists()


LOAD = """
import sys, llama_cpp
model = llama_cpp.Llama(sys.argv[1], n_ctx=64, verbose=False, logits_all=True)
model.eval(model.tokenize(b"hello the world"))
print([round(float(value), 5) for value in model.scores[model.n_tokens - 1][:20]])
"""


def logits(path: Path) -> str:
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def split(made: Path) -> Path:
    """The first of several parts in a folder of its own."""
    (made / "split").mkdir()
    options = TargetOptions(split_bytes=600_000)
    summary = convert_checkpoint(made / "c", made / "split" / "m.gguf", "F16", target=options)
    assert len(summary.files) > 2
    assert summary.output == summary.files[0]
    return summary.output


def test_split_files_load_in_llama_cpp(split: Path, made: Path) -> None:
    assert logits(split) == logits(made / "F16.gguf")


def test_split_as_gguf_split_does(split: Path, made: Path) -> None:
    """Names, keys and the bytes of the tensors; `llama_split_path` and tools/gguf-split of llama.cpp."""
    parts = sorted(split.parent.glob("*.gguf"))
    count = len(parts)
    assert [path.name for path in parts] == [f"m-{n + 1:05d}-of-{count:05d}.gguf" for n in range(count)]
    whole, found = tensors(made / "F16.gguf"), {}
    for number, path in enumerate(parts):
        reader = gguf.GGUFReader(path)
        keys = {key: reader.fields[key].contents() for key in reader.fields if key.startswith("split.")}
        assert keys == {"split.no": number, "split.count": count, "split.tensors.count": len(whole)}
        assert ("general.architecture" in reader.fields) == (number == 0)
        assert sum(-(-tensor.n_bytes // 32) * 32 for tensor in reader.tensors) <= 600_000
        found |= tensors(path)
    assert list(found) == list(whole)
    assert found == whole


def test_a_split_source(split: Path, made: Path, tmp_path: Path) -> None:
    convert_checkpoint(split, tmp_path / "whole.gguf", "Q4_K_M")
    convert_checkpoint(made / "F16.gguf", tmp_path / "direct.gguf", "Q4_K_M")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "direct.gguf").read_bytes()


def test_a_split_model_is_validated_and_counted_as_one(split: Path) -> None:
    header = validate(split)
    assert header.file_bytes == sum(path.stat().st_size for path in split.parent.glob("*.gguf"))
    assert len(header.tensors) == 3 + 6 * SIZE.layers
    assert header.path == split


def test_a_model_that_fits_is_one_file(made: Path, tmp_path: Path) -> None:
    options = TargetOptions(split_bytes=10**9)
    summary = convert_checkpoint(made / "c", tmp_path / "m.gguf", "F16", target=options)
    assert summary.files == (tmp_path / "m.gguf",)
    assert (tmp_path / "m.gguf").read_bytes() == (made / "F16.gguf").read_bytes()


def test_a_part_holds_at_least_one_tensor(made: Path) -> None:
    with pytest.raises(errors.InvalidSettingError, match="split-max-size"):
        plan_conversion(made / "c", "F16", options=TargetOptions(split_bytes=1000))


def test_old_parts_are_not_mixed_with_new_ones(split: Path, made: Path) -> None:
    before = {path.name: path.read_bytes() for path in split.parent.iterdir()}
    options = TargetOptions(split_bytes=600_000)
    with pytest.raises(errors.FileWriteError, match="part"):
        convert_checkpoint(made / "c", split.parent / "m.gguf", "F16", target=options, overwrite=True)
    assert {path.name: path.read_bytes() for path in split.parent.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="there, names are not given by links")
@pytest.mark.parametrize("moment", ["second name", "sync"])
def test_a_late_failure_leaves_no_part(
    moment: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, calls = os.link, []

    def second_is_taken(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise FileExistsError(errno.EEXIST, "File exists")
        link(*arguments)

    def broken(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    if moment == "sync":
        monkeypatch.setattr(files, "sync_folder", broken)
    else:
        monkeypatch.setattr(os, "link", second_is_taken)
    with pytest.raises(errors.FileWriteError):
        convert_checkpoint(made / "c", tmp_path / "m.gguf", "F16", target=TargetOptions(split_bytes=600_000))
    assert list(tmp_path.iterdir()) == []


def test_show_opens_a_split_model(split: Path, run_cli) -> None:
    shown = run_cli(["show", split, "--json"])
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["size_bytes"] == validate(split).file_bytes


def test_overrides_of_a_gguf_source(made: Path, tmp_path: Path) -> None:
    choices = TypeChoices(overrides=(("ffn_down", "Q8_0"),))
    plan = plan_conversion(made / "F16.gguf", "Q4_0", options=TargetOptions(choices=choices))
    assert {t.type for t in plan.tensors if "ffn_down" in t.name} == {"Q8_0"}
