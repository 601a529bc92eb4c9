"""Publishing: the output is there complete or not at all, whatever disk, names and other programs do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from phi4local import errors, files
from phi4local.convert import convert_checkpoint, pipeline, plan_conversion
from phi4local.gguf import validate
from tests.random_checkpoint import Size, write_random_checkpoint

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="calls and file names that Windows has not")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("random"), Size(hidden=256), shards=2)


def test_an_existing_output_is_kept(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.gguf"
    output.write_bytes(b"precious")
    with pytest.raises(errors.OutputExistsError):
        convert_checkpoint(checkpoint, output, "Q8_0")
    assert output.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [output]
    convert_checkpoint(checkpoint, output, "Q8_0", overwrite=True)
    assert output.read_bytes()[:4] == b"GGUF"


def test_a_shard_is_never_overwritten(checkpoint: Path) -> None:
    shard = min(checkpoint.glob("*.safetensors"))
    before = shard.read_bytes()
    with pytest.raises(errors.FileWriteError, match="part of the checkpoint"):
        convert_checkpoint(checkpoint, shard, "Q8_0", overwrite=True)
    assert shard.read_bytes() == before


def test_no_such_folder_for_the_output(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.FileWriteError, match="no such file"):
        convert_checkpoint(checkpoint, tmp_path / "absent" / "m.gguf", "Q8_0")


@POSIX
@pytest.mark.parametrize("name", ["with spaces", "line\nbreak", "\x1b[31mred", "emoji 🦊", "-q", "phi3"])
def test_odd_names(name: str, tmp_path: Path) -> None:
    folder = write_random_checkpoint(tmp_path / name, shards=2)
    output = tmp_path / f"{name}.gguf"
    convert_checkpoint(folder, output, "Q8_0")
    stored = str(validate(output).metadata["general.name"])
    assert stored.isprintable()
    assert "phi3" not in stored


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = write_random_checkpoint(Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")))
    output = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.gguf"))
    convert_checkpoint(folder, output, "Q8_0")
    assert validate(output).metadata["general.name"] == "caf"


@POSIX
def test_not_enough_disk_is_found_before_the_first_byte(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = plan_conversion(checkpoint, "Q8_0").size_bytes
    state = list(os.statvfs(tmp_path))
    state[4] = (size - 1) // state[1]
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(state))
    with pytest.raises(errors.NotEnoughDiskError) as caught:
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q8_0")
    assert caught.value.needed_bytes == size
    assert list(tmp_path.iterdir()) == []


@POSIX
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_write_that_fails_late(
    code: int, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pwrite, calls = os.pwrite, []

    def failing(descriptor: int, data: bytes, offset: int) -> int:
        calls.append(offset)
        if len(calls) > 5:
            raise OSError(code, os.strerror(code))
        return pwrite(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    with pytest.raises(errors.FileWriteError) as caught:
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q8_0")
    assert str(tmp_path / "m.gguf") in str(caught.value)
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import resource, sys
from pathlib import Path
from phi4local.convert import convert_checkpoint
from phi4local.errors import FileWriteError
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    convert_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), "Q8_0")
except FileWriteError as error:
    print("refused:", error)
"""


@POSIX
def test_a_file_size_limit(checkpoint: Path, tmp_path: Path) -> None:
    size = plan_conversion(checkpoint, "Q8_0").size_bytes
    for limit, refused in ((0, True), (4096, True), (size - 1, True), (size, False)):
        output = tmp_path / "m.gguf"
        done = subprocess.run(
            [sys.executable, "-c", LIMITED, str(checkpoint), str(output), str(limit)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert done.stdout.startswith("refused:") is refused, done
        assert sorted(tmp_path.iterdir()) == ([] if refused else [output])


def test_a_damaged_header_is_found_before_the_file_gets_its_name(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pipeline.Pipeline.run

    def damaging(self: pipeline.Pipeline, progress: object) -> object:
        stages = original(self, progress)
        file = self.targets[0].files[0]
        file.seek(0)
        file.write(b"GGUX")
        file.flush()
        return stages

    monkeypatch.setattr(pipeline.Pipeline, "run", damaging)
    with pytest.raises(errors.ConversionError, match="does not pass its check"):
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q8_0")
    assert list(tmp_path.iterdir()) == []


def test_published_through_files(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it grows, the file has a temporary name; the real one appears at the end."""
    seen: list[list[str]] = []
    convert_checkpoint(
        checkpoint,
        tmp_path / "m.gguf",
        "Q8_0",
        progress=lambda *_: seen.append([path.name for path in tmp_path.iterdir()]),
    )
    assert all(len(names) == 1 and names[0].endswith(files.TEMPORARY_SUFFIX) for names in seen)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_progress_that_raises_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    def progress(done: int, total: int, _tensor: str) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q8_0", progress=progress)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("races", [2, pytest.param(20, marks=pytest.mark.full)])
def test_two_conversions_to_one_name(races: int, checkpoint: Path, tmp_path: Path) -> None:
    """Without `overwrite` exactly one wins, with it both agree; nothing half is ever left."""
    output = tmp_path / "m.gguf"
    for overwrite in (False, True) * (races // 2):
        output.unlink(missing_ok=True)
        with ThreadPoolExecutor(4) as executor:
            jobs = [
                executor.submit(convert_checkpoint, checkpoint, output, "Q8_0", overwrite=overwrite)
                for _ in range(4)
            ]
        failures = [job.exception() for job in jobs if job.exception()]
        assert len(failures) == (0 if overwrite else 3)
        assert all(isinstance(failure, errors.OutputExistsError) for failure in failures)
        assert list(tmp_path.iterdir()) == [output]
        validate(output)
