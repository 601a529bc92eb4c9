"""The oracle: llama.cpp's own quantizer, run on our F32 file, must make the same tensors, byte for byte."""

from __future__ import annotations

import functools
import subprocess
import sys
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from phi4local.convert import QUANTIZATIONS, convert_checkpoint, plan_conversion
from tests.random_checkpoint import NANO, Size, write_random_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUANTIZED = [name for name in QUANTIZATIONS if name not in ("F32", "F16", "BF16")]

LLAMA_QUANTIZE = """
import sys
from llama_cpp import llama_cpp
source, *jobs = sys.argv[1:]
for target, file_type in zip(jobs[::2], jobs[1::2]):
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = int(file_type), 2
    assert llama_cpp.llama_model_quantize(source.encode(), target.encode(), parameters) == 0
"""

SIZES = {
    "nano": None,
    "grouped": Size(hidden=256, feed_forward=256, layers=17, heads=8, kv_heads=2),
    "rows-of-576": Size(hidden=576, feed_forward=1536, layers=1, heads=9, kv_heads=3),
    "rows-of-40": Size(hidden=40, feed_forward=72, layers=3, heads=4, kv_heads=4),
    "tied": Size(hidden=256, feed_forward=256, layers=2, heads=4, kv_heads=1, tied=True),
    "tied-576": Size(hidden=576, feed_forward=640, layers=1, heads=9, kv_heads=3, tied=True),
}


SLOW = {("nano", "Q4_K_S"), ("nano", "Q5_K_M"), ("nano", "Q4_0")}  # the other cases have them too

PAIRS = [
    pytest.param(case, name, marks=[pytest.mark.full] if (case, name) in SLOW else [])
    for case in SIZES
    for name in QUANTIZED
]


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """Return a function: case, slow ones or the others → folder with ours-NAME.gguf and theirs-NAME.gguf."""

    @functools.cache
    def make(case: str, slow: bool) -> Path:
        folder = tmp_path_factory.mktemp(case)
        size = SIZES[case]
        checkpoint = write_random_checkpoint(folder, size, shards=2, seed=7) if size else NANO
        convert_checkpoint(checkpoint, folder / "f32.gguf", "F32")
        command = [sys.executable, "-c", LLAMA_QUANTIZE, str(folder / "f32.gguf")]
        for name in QUANTIZED:
            if ((case, name) in SLOW) == slow:
                convert_checkpoint(checkpoint, folder / f"ours-{name}.gguf", name)
                command += [
                    str(folder / f"theirs-{name}.gguf"),
                    str(int(gguf.LlamaFileType[f"MOSTLY_{name}"])),
                ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        return folder

    return make


@pytest.mark.parametrize(("case", "quantization"), PAIRS)
def test_same_tensors_and_metadata(
    case: str, quantization: str, converted: Callable[[str, bool], Path]
) -> None:
    folder = converted(case, (case, quantization) in SLOW)
    our_file, their_file = folder / f"ours-{quantization}.gguf", folder / f"theirs-{quantization}.gguf"
    assert our_file.stat().st_size == their_file.stat().st_size
    ours, theirs = gguf.GGUFReader(our_file), gguf.GGUFReader(their_file)
    assert [tensor.name for tensor in ours.tensors] == [tensor.name for tensor in theirs.tensors]
    for mine, other in zip(ours.tensors, theirs.tensors, strict=True):
        assert mine.tensor_type == other.tensor_type, mine.name
        assert mine.shape.tolist() == other.shape.tolist(), mine.name
        assert np.array_equal(mine.data.view(np.uint8), other.data.view(np.uint8)), mine.name
    assert ours.data_offset == theirs.data_offset
    assert ours.fields["general.file_type"].contents() == theirs.fields["general.file_type"].contents()
    if quantization != "Q4_K_M":
        return  # the keys do not depend on it, apart from general.file_type below
    keys = [key for key in theirs.fields if not key.startswith("GGUF.")]
    assert set(keys) == {key for key in ours.fields if not key.startswith("GGUF.")}
    for key in keys:
        assert ours.fields[key].contents() == theirs.fields[key].contents(), key
        assert ours.fields[key].types == theirs.fields[key].types, key


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("rows-of-576", {"Q5_0", "Q5_1", "Q8_0"}),
        ("rows-of-40", {"F16"}),
        ("grouped", {"Q4_K", "Q5_K", "Q6_K"}),
    ],
)
def test_sizes_reach_every_branch(tmp_path: Path, case: str, expected: set[str]) -> None:
    checkpoint = write_random_checkpoint(tmp_path, SIZES[case])
    found = {tensor.type for name in QUANTIZED for tensor in plan_conversion(checkpoint, name).tensors}
    assert expected <= found
