"""Faults with several outputs, parts of a split file, or a GGUF as source: all files appear, or none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from phi4local import errors
from phi4local.convert import TargetOptions, convert_checkpoint, convert_to_several
from tests.hostile.faults import Fault, inject
from tests.random_checkpoint import write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="counts calls that Windows has not")
CALLS = ("open", "read", "write", "cut", "sync", "rename", "list")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("many") / "c", shards=2)


@pytest.fixture(scope="module")
def model(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "m.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return path


def two(source: Path, folder: Path) -> None:
    convert_to_several(source, {"Q8_0": folder / "a.gguf", "F16": folder / "b.gguf"})


def parts(source: Path, folder: Path) -> None:
    convert_checkpoint(source, folder / "m.gguf", "F32", target=TargetOptions(split_bytes=250_000))


def one(source: Path, folder: Path) -> None:
    convert_checkpoint(source, folder / "m.gguf", "Q8_0")


KINDS = {"two": two, "parts": parts, "from GGUF": one}


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_files_or_none(kind: str, call: str, checkpoint: Path, model: Path, tmp_path: Path) -> None:
    source = model if kind == "from GGUF" else checkpoint
    watched = [source.parent, tmp_path]
    with inject(watched) as calls:
        KINDS[kind](source, tmp_path)
    expected = files_in(tmp_path)
    assert len(expected) == 1 if kind == "from GGUF" else len(expected) >= 2
    empty(tmp_path)
    assert calls[call] > 0
    refused = 0
    for number in range(1, calls[call] + 1):
        error = None
        try:
            with inject(watched, Fault(call=call, number=number)):
                KINDS[kind](source, tmp_path)
        except errors.Phi4LocalError as caught:
            error = caught
            refused += 1
        assert files_in(tmp_path) == (expected if error is None else {}), (number, str(error))
        assert error is None or error.hint
        empty(tmp_path)
    assert refused or call in ("rename", "list")


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fills_up(kind: str, checkpoint: Path, model: Path, tmp_path: Path) -> None:
    source = model if kind == "from GGUF" else checkpoint
    KINDS[kind](source, tmp_path)
    size = sum(map(len, files_in(tmp_path).values()))
    empty(tmp_path)
    for place in range(10):
        fault = Fault(call="write", room_bytes=size * place // 10)
        with inject([tmp_path], fault), pytest.raises(errors.FileWriteError, match="no space left"):
            KINDS[kind](source, tmp_path)
        assert files_in(tmp_path) == {}
