"""A file is published whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from phi4local.errors import FileWriteError, NotEnoughDiskError, OutputExistsError
from phi4local.files import new_file, write_error


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_block_leaves_exactly_the_file(tmp_path):
    with new_file(tmp_path / "a b\n\x1b.bin") as file:
        file.write(b"data")
    assert leftovers(tmp_path) == ["a b\n\x1b.bin"]
    assert (tmp_path / "a b\n\x1b.bin").read_bytes() == b"data"


@pytest.mark.parametrize("problem", [ValueError("no"), KeyboardInterrupt()])
def test_a_failing_block_leaves_nothing(tmp_path, problem):
    def write():
        with new_file(tmp_path / "out") as file:
            file.write(b"half")
            raise problem

    with pytest.raises(type(problem)):
        write()
    assert leftovers(tmp_path) == []


def test_an_existing_file_is_kept_without_overwrite(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(OutputExistsError), new_file(path):
        pytest.fail("the block must not run")
    assert path.read_text() == "old"


def test_a_file_that_appears_meanwhile_is_kept_without_overwrite(tmp_path):
    path = tmp_path / "out"

    def write():
        with new_file(path) as file:
            file.write(b"new")
            path.write_text("somebody else's")

    with pytest.raises(OutputExistsError):
        write()
    assert path.read_text() == "somebody else's"
    assert leftovers(tmp_path) == ["out"]


def test_overwrite_replaces_and_a_failure_restores_nothing_because_nothing_was_lost(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")

    def write():
        with new_file(path, overwrite=True) as file:
            file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert path.read_text() == "old"
    with new_file(path, overwrite=True) as file:
        file.write(b"new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("kind", ["folder", "link", "dangling", "fifo"])
def test_what_is_no_regular_file_is_never_replaced(tmp_path, kind):
    path = tmp_path / "out"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        target = tmp_path / "target"
        if kind == "link":
            target.write_text("x")
        path.symlink_to(target)
    with pytest.raises(FileWriteError, match="not a regular file"), new_file(path, overwrite=True):
        pytest.fail("the block must not run")


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(tmp_path):
    with pytest.raises(NotEnoughDiskError) as caught, new_file(tmp_path / "out", size_bytes=2**60):
        pytest.fail("the block must not run")
    assert caught.value.needed_bytes == 2**60
    assert leftovers(tmp_path) == []


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(FileWriteError, match="no such file or directory"), new_file(tmp_path / "no" / "out"):
        pytest.fail("the block must not run")


def test_a_full_disk_is_named():
    error = write_error(Path("model.gguf"), OSError(errno.ENOSPC, "whatever"))
    assert str(error) == "cannot write `model.gguf`: no space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_leaves_nothing(tmp_path, monkeypatch):
    real_fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
    with pytest.raises(FileWriteError, match="no space left"), new_file(tmp_path / "out") as file:
        file.write(b"x")
    monkeypatch.setattr(os, "fsync", real_fsync)
    assert leftovers(tmp_path) == []


def test_the_order_is_sync_then_rename_then_sync_of_the_folder(tmp_path, monkeypatch):
    calls = []
    real = {name: getattr(os, name) for name in ("fsync", "link")}
    for name, function in real.items():
        monkeypatch.setattr(os, name, lambda *a, _f=function, _n=name: (calls.append(_n), _f(*a))[1])
    with new_file(tmp_path / "out") as file:
        file.write(b"x")
    assert calls == ["fsync", "link", "fsync"]
