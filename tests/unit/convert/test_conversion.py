"""Converting: the plan, the file, threads, progress, memory, and what importing costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from phi4local import convert, errors
from phi4local.convert import QUANTIZATIONS, convert_checkpoint, plan_conversion, rows
from phi4local.gguf import validate
from tests.random_checkpoint import NANO, Size, write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


WITHOUT_IMATRIX = [name for name in QUANTIZATIONS if not name.startswith(("IQ1", "IQ2", "IQ3", "Q2_K_S"))]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("random"), Size(hidden=256), shards=2)


def test_plan_of_nano() -> None:
    plan = plan_conversion(NANO, "q4_k_m")
    assert (plan.quantization, plan.name, plan.parameters) == ("Q4_K_M", "phi4-nano", 10_227_968)
    assert (len(plan.tensors), plan.source.layers) == (51, 8)
    assert plan.tensor_types == {"Q4_K": 25, "F32": 17, "Q6_K": 9}
    assert [tensor.name for tensor in plan.tensors[:5]] == [
        "output.weight",
        "output_norm.weight",
        "token_embd.weight",
        "blk.0.attn_norm.weight",
        "blk.0.attn_output.weight",
    ]
    assert all(tensor.offset % 32 == 0 for tensor in plan.tensors)
    assert plan.files[0].data_offset % 32 == 0
    assert "phi4-nano as Q4_K_M: 10,227,968 weights in 51 tensors" in str(plan)
    assert len(repr(plan)) < 100_000  # no vocabulary, no header
    with pytest.raises(FrozenInstanceError):
        plan.quantization = "Q8_0"  # type: ignore[misc]


def test_plan_says_the_size_of_the_file(checkpoint: Path, tmp_path: Path) -> None:
    for quantization in WITHOUT_IMATRIX:
        output = tmp_path / f"{quantization}.gguf"
        summary = convert_checkpoint(checkpoint, output, quantization)
        plan = plan_conversion(checkpoint, quantization)
        assert output.stat().st_size == plan.size_bytes == summary.size_bytes
        assert summary.tensor_types == plan.tensor_types
        assert summary.parameters == plan.parameters
        header = validate(output)
        assert header.data_offset == plan.files[0].data_offset
        assert [t.offset for t in header.tensors] == [t.offset for t in plan.tensors]
        types = {entry.key: entry.type for entry in plan.metadata}
        assert dict(header.value_types) == types
        assert json.dumps(summary.to_mapping())


def test_sizes_ascend() -> None:
    sizes = [plan_conversion(NANO, name).size_bytes for name in ("IQ4_XS", "Q4_K_M", "Q6_K", "Q8_0", "F16")]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("name", ["q4_k_m", "Q4_K_M", "q4_K_m"])
def test_upper_and_lower_case_are_the_same(name: str) -> None:
    assert convert.quantization_named(name) == "Q4_K_M"


@pytest.mark.parametrize(("name", "near"), [("Q4_KM", "Q4_K_M"), ("q5_k_x", "Q5_K_M"), ("fp16", "F16")])
def test_near_names(name: str, near: str) -> None:
    with pytest.raises(errors.UnknownQuantizationError) as caught:
        plan_conversion(NANO, name)
    assert near in caught.value.near
    assert near in str(caught.value.hint)


def test_bytes_do_not_depend_on_threads_or_chunks(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for quantization in ("Q4_K_M", "F16"):
        found = set()
        for threads, chunk in ((1, 2**20), (2, 2**20), (3, 700), (2, 1)):
            monkeypatch.setattr(rows, "CHUNK_ELEMENTS", chunk)
            output = tmp_path / f"{quantization}-{threads}-{chunk}.gguf"
            convert_checkpoint(checkpoint, output, quantization, threads=threads)
            found.add(output.read_bytes())
        assert len(found) == 1


@pytest.mark.parametrize("without", ["pwrite", "preadv"])
def test_systems_without_positioned_calls(
    without: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has neither; there a lock keeps seek and write together."""
    convert_checkpoint(checkpoint, tmp_path / "with.gguf", "Q8_0")
    monkeypatch.delattr(os, without, raising=False)
    monkeypatch.setattr(rows, "CHUNK_ELEMENTS", 512)
    convert_checkpoint(checkpoint, tmp_path / "without.gguf", "Q8_0", threads=4)
    assert (tmp_path / "with.gguf").read_bytes() == (tmp_path / "without.gguf").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="has no positioned calls")
def test_short_reads_and_writes_are_continued(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert_checkpoint(checkpoint, tmp_path / "whole.gguf", "Q8_0")
    pwrite, preadv = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:997], offset))
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: preadv(fd, [buffers[0][:1009]], offset))
    convert_checkpoint(checkpoint, tmp_path / "parts.gguf", "Q8_0")
    assert (tmp_path / "whole.gguf").read_bytes() == (tmp_path / "parts.gguf").read_bytes()


def test_progress_comes_from_one_thread_and_ends_complete(checkpoint: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    callers = set()
    names = {"", *(tensor.name for tensor in plan_conversion(checkpoint, "Q8_0").tensors)}

    def progress(done: int, total: int, tensor: str) -> None:
        calls.append((done, total))
        assert tensor in names
        callers.add(threading.current_thread())

    summary = convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q8_0", threads=2, progress=progress)
    assert callers == {threading.current_thread()}
    assert calls == sorted(calls)
    assert calls[-1] == (summary.size_bytes, summary.size_bytes)
    assert {total for _, total in calls} == {summary.size_bytes}


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_positive(threads: int, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidSettingError, match="threads"):
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q8_0", threads=threads)


def test_the_whole_vocabulary_file_loads_in_llama_cpp(tmp_path: Path) -> None:
    """A file from the random checkpoint decodes a token: names, shapes and keys are what llama.cpp wants."""
    folder = write_random_checkpoint(tmp_path / "c", Size(tied=True))
    convert_checkpoint(folder, tmp_path / "m.gguf", "Q8_0")
    code = (
        "import sys, llama_cpp; model = llama_cpp.Llama(sys.argv[1], n_ctx=64, verbose=False); "
        "model.eval(model.tokenize(b'hello the world')); print(model.n_tokens, model.token_eos())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.gguf")], capture_output=True, text=True, check=True
    )
    tokens, end = map(int, done.stdout.split())
    assert tokens > 0
    assert end == json.loads((folder / "config.json").read_text())["eos_token_id"]


def test_importing_is_cheap() -> None:
    code = (
        "import sys, phi4local.convert; "
        "heavy = ('numpy', 'gguf', 'llama_cpp', 'torch', 'concurrent.futures'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


PEAK = """
import resource, sys
from pathlib import Path
from phi4local.convert import convert_checkpoint
import gguf, numpy, phi4local.convert.rows
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
convert_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), "Q8_0", threads=2)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss in KiB")
def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    """56 MB of weights, the largest tensor 64 MB as float32; 2 threads add less than that."""
    size = Size(hidden=1024, feed_forward=8192, layers=1, heads=8, kv_heads=2)
    folder = write_random_checkpoint(tmp_path / "c", size)
    weights = (folder / "model.safetensors").stat().st_size
    assert weights > 50e6
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(folder), str(tmp_path / "m.gguf")],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert int(done.stdout) < 48e6


def test_f16_of_gguf_package_reads_back(checkpoint: Path, tmp_path: Path) -> None:
    """A second reader agrees on every shape."""
    convert_checkpoint(checkpoint, tmp_path / "m.gguf", "F16")
    plan = plan_conversion(checkpoint, "F16")
    for tensor, planned in zip(gguf.GGUFReader(tmp_path / "m.gguf").tensors, plan.tensors, strict=True):
        assert tensor.name == planned.name
        assert tuple(reversed(tensor.shape.tolist())) == planned.shape
        assert tensor.n_bytes == planned.size_bytes
        assert np.isfinite(tensor.data.astype(np.float32)).all()


def test_the_workshop_is_the_same_command(checkpoint: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "convert", str(checkpoint), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=NANO.parent.parent)

    done = run("-q", "Q8_0", "-o", str(tmp_path / "m.gguf"))
    assert done.returncode == 0, done.stderr
    assert validate(tmp_path / "m.gguf").metadata["general.file_type"] == 7
    assert run("-q", "Q4_KM", "-o", str(tmp_path / "n.gguf")).returncode == 1
