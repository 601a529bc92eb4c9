"""Several quantizations of one checkpoint: it is read once, and all files appear or none."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from phi4local import errors
from phi4local.convert import TargetOptions, convert_checkpoint, convert_to_several, plan_conversion
from phi4local.convert.estimate import chunk_elements
from phi4local.convert.kernels import Work
from tests.random_checkpoint import Size, write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("Q4_K_M", "Q6_K", "Q8_0")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("c"), Size(hidden=256, feed_forward=512), shards=2)


def outputs(folder: Path) -> dict[str, Path]:
    return {name: folder / f"{name}.gguf" for name in NAMES}


def test_each_file_is_what_it_is_alone(checkpoint: Path, tmp_path: Path) -> None:
    summaries = convert_to_several(checkpoint, outputs(tmp_path))
    assert [summary.quantization for summary in summaries] == list(NAMES)
    for name in NAMES:
        convert_checkpoint(checkpoint, tmp_path / "alone.gguf", name, overwrite=True)
        assert (tmp_path / f"{name}.gguf").read_bytes() == (tmp_path / "alone.gguf").read_bytes()


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="counts positioned reads")
def test_every_byte_of_the_weights_is_read_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = {path.stat().st_ino: path for path in checkpoint.glob("*.safetensors")}
    times = {inode: np.zeros(path.stat().st_size, np.int8) for inode, path in shards.items()}
    preadv, lock = os.preadv, threading.Lock()

    def counting(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        found = preadv(descriptor, buffers, offset)
        with lock:
            times[os.fstat(descriptor).st_ino][offset : offset + found] += 1
        return found

    monkeypatch.setattr(os, "preadv", counting)
    convert_to_several(checkpoint, outputs(tmp_path))
    for inode, path in shards.items():
        header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
        assert (times[inode][header:] == 1).all()
        assert (times[inode][:header] == 0).all()  # that was read when the plan was made


@pytest.mark.parametrize("existing", NAMES)
def test_one_that_exists_keeps_all_from_being_made(existing: str, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / f"{existing}.gguf").write_bytes(b"precious")
    with pytest.raises(errors.OutputExistsError):
        convert_to_several(checkpoint, outputs(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [f"{existing}.gguf"]
    assert (tmp_path / f"{existing}.gguf").read_bytes() == b"precious"


def test_one_that_appears_meanwhile_takes_back_the_others(checkpoint: Path, tmp_path: Path) -> None:
    def progress(done: int, total: int, _tensor: str) -> None:
        if done == total:
            (tmp_path / "Q6_K.gguf").write_bytes(b"precious")

    with pytest.raises(errors.OutputExistsError):
        convert_to_several(checkpoint, outputs(tmp_path), progress=progress)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"Q6_K.gguf": b"precious"}


def test_one_name_for_two_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidSettingError, match="same file"):
        convert_to_several(checkpoint, dict.fromkeys(NAMES, tmp_path / "m.gguf"))
    assert list(tmp_path.iterdir()) == []


def test_the_disk_must_hold_all_of_them(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = sum(plan_conversion(checkpoint, name).size_bytes for name in NAMES)
    state = list(os.statvfs(tmp_path))
    state[4] = (needed - 1) // state[1]
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(state))
    with pytest.raises(errors.NotEnoughDiskError) as caught:
        convert_to_several(checkpoint, outputs(tmp_path))
    assert caught.value.needed_bytes == needed


def test_busy_shares_add_up_to_no_more_than_the_time(checkpoint: Path, tmp_path: Path) -> None:
    stages = convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q4_K_M", threads=2).stages
    assert min(stages.reading, stages.quantizing, stages.writing) > 0
    assert stages.reading + stages.quantizing + stages.writing <= 1.0
    assert getattr(stages, stages.limiting) == max(stages.reading, stages.quantizing, stages.writing)


def test_little_memory_makes_small_chunks() -> None:
    work = [Work("BF16", "Q4_K")]
    assert chunk_elements(2**30, 8, work) > 2**20
    assert chunk_elements(2**29, 64, work) < chunk_elements(2**30, 64, work) < 2**20
    assert chunk_elements(2**30, 2, [Work("BF16", "IQ2_XS", weighted=True)]) < 2**18
    with pytest.raises(errors.InvalidSettingError, match="memory"):
        chunk_elements(2**28, 1, work)


PEAK = """
import sys
from pathlib import Path
from phi4local.convert import convert_to_several
folder, out = map(Path, sys.argv[1:])
convert_to_several(folder, {name: out / name for name in ("BF16", "Q8_0", "F32")}, threads=32,
                   memory_bytes=512 * 2**20, kernels="ggml")
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_memory_stays_below_its_bound(tmp_path: Path) -> None:
    """32 threads and three outputs; the largest tensor has 64 MB as float32."""
    size = Size(hidden=1024, feed_forward=8192, layers=1, heads=8, kv_heads=2)
    write_random_checkpoint(tmp_path / "c", size)
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", PEAK, str(tmp_path / "c"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    assert int(done.stdout) < 512 * 2**20


def test_options_by_name(checkpoint: Path) -> None:
    plan = plan_conversion(checkpoint, "Q4_K_M", options=TargetOptions())
    assert plan == plan_conversion(checkpoint, "Q4_K_M")
