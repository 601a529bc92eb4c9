"""Faults while converting: one error line and nothing left, or the right file; never half a file.

Each case is a process of its own that runs the real command; only one call to the system is made to fail, or
the process is killed just before it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from phi4local import files
from phi4local.gguf import validate
from tests.hostile.faults import CALLS, SIGKILL, Fault
from tests.random_checkpoint import write_random_checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the harness forks")
FULL = pytest.mark.full


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(tmp_path_factory.mktemp("faults") / "c", shards=2)


@pytest.fixture(scope="module")
def untouched(checkpoint, faulty, tmp_path_factory):
    """The bytes of a run without faults, and how many calls of each kind it makes."""
    folder = tmp_path_factory.mktemp("untouched")
    outcome = faulty.run(convert(checkpoint, folder / "m.gguf"), watch=[checkpoint, folder])
    assert outcome.returncode == 0, outcome.stderr
    return (folder / "m.gguf").read_bytes(), outcome.calls


def convert(checkpoint: Path, output: Path, *more: str) -> list[object]:
    return ["convert", checkpoint, "-q", "Q8_0", "-o", output, *more]


def check_one_error(outcome) -> None:
    lines = outcome.stderr.splitlines()
    assert outcome.returncode == 1, outcome
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"], outcome.stderr
    assert "internal" not in lines[0]
    assert len(lines[0].partition("`: ")[2]) <= 200  # the name is the person's own
    assert outcome.stdout == ""


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def leftovers(folder: Path) -> list[str]:
    return [name for name in left_in(folder) if name.endswith(files.TEMPORARY_SUFFIX)]


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


FAST = [call for call in CALLS if call != "look"]  # three quarters of all calls, of which few can matter


@pytest.mark.parametrize("call", [*FAST, pytest.param("look", marks=FULL)])
def test_every_call_that_fails_in_turn(call, checkpoint, faulty, untouched, tmp_path):
    """An error leaves nothing; where the command can go on, the file is right."""
    expected, calls = untouched
    assert calls[call] > 0
    refused = 0
    for number in range(1, calls[call] + 1):
        for failure in ("EIO",) if call == "look" else ("EIO", "ENOSPC"):
            fault = Fault(call=call, number=number, failure=failure)
            outcome = faulty.run(
                convert(checkpoint, tmp_path / "m.gguf"), watch=[checkpoint, tmp_path], fault=fault
            )
            if outcome.returncode:
                check_one_error(outcome)
                assert left_in(tmp_path) == [], fault
                refused += 1
            else:
                assert (tmp_path / "m.gguf").read_bytes() == expected, fault
                assert len(leftovers(tmp_path)) == (call == "remove"), fault
            empty(tmp_path)
    assert refused or call in ("rename", "remove")


@pytest.mark.parametrize("call", [*FAST, pytest.param("look", marks=FULL)])
def test_a_kill_before_every_call(call, checkpoint, faulty, untouched, tmp_path):
    """The name is free or holds the whole file; the next run clears up and makes the same bytes."""
    expected, calls = untouched
    output = tmp_path / "m.gguf"
    for number in range(1, calls[call] + 1):
        fault = Fault(call=call, number=number, failure=SIGKILL)
        outcome = faulty.run(convert(checkpoint, output), watch=[checkpoint, tmp_path], fault=fault)
        assert outcome.returncode == -9
        assert set(left_in(tmp_path)) <= {"m.gguf", *leftovers(tmp_path)}
        if output.exists():
            assert output.read_bytes() == expected, fault
            output.unlink()
        assert faulty.run(convert(checkpoint, output)).returncode == 0
        assert output.read_bytes() == expected, fault
        assert left_in(tmp_path) == ["m.gguf"], fault
        empty(tmp_path)


@pytest.mark.parametrize("failure", ["EIO", "ENOSPC", SIGKILL])
def test_a_good_file_is_never_lost(failure, checkpoint, faulty, untouched, tmp_path):
    """With `--force` the old file stays until the new one is complete."""
    expected, _ = untouched
    output = tmp_path / "m.gguf"
    arguments = convert(checkpoint, output, "--force")
    output.write_bytes(b"precious")
    calls = faulty.run(arguments, watch=[tmp_path]).calls
    for call in ("write", "sync", "rename", "cut"):
        for number in range(1, calls[call] + 1):
            output.write_bytes(b"precious")
            fault = Fault(call=call, number=number, failure=failure)
            outcome = faulty.run(arguments, watch=[tmp_path], fault=fault)
            assert outcome.returncode == (-9 if failure == SIGKILL else 1), fault
            complete = call == "sync" and number == calls["sync"]  # only the folder was not synced
            assert output.read_bytes() == (expected if complete else b"precious"), fault


def test_a_disk_that_fills_up_at_forty_sizes(checkpoint, faulty, untouched, tmp_path):
    """The system takes a part of the last write, then nothing more."""
    expected, _ = untouched
    for place in range(40):
        fault = Fault(call="write", room_bytes=len(expected) * place // 40)
        outcome = faulty.run(convert(checkpoint, tmp_path / "m.gguf"), watch=[tmp_path], fault=fault)
        check_one_error(outcome)
        assert "no space left on device" in outcome.stderr
        assert left_in(tmp_path) == [], fault
    fault = Fault(call="write", room_bytes=len(expected))
    outcome = faulty.run(convert(checkpoint, tmp_path / "m.gguf"), watch=[tmp_path], fault=fault)
    assert (outcome.returncode, (tmp_path / "m.gguf").read_bytes()) == (0, expected)


def test_a_folder_that_may_not_be_written(checkpoint, faulty, open_folder):
    target = open_folder / "target"
    target.mkdir()
    target.chmod(0o555)
    readable = Path(shutil.copytree(checkpoint, open_folder / "c"))
    outcome = faulty.run(convert(readable, target / "m.gguf"), as_nobody=True)
    check_one_error(outcome)
    assert f"cannot write `{target / 'm.gguf'}`: permission denied" in outcome.stderr
    assert left_in(target) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("more", [(), ("--force",)])
def test_a_folder_and_a_file_of_somebody_else(more, checkpoint, faulty, open_folder):
    (open_folder / "m.gguf").write_bytes(b"theirs")
    readable = Path(shutil.copytree(checkpoint, open_folder / "c"))
    outcome = faulty.run(convert(readable, open_folder / "m.gguf", *more), as_nobody=True)
    check_one_error(outcome)
    assert (open_folder / "m.gguf").read_bytes() == b"theirs"
    assert left_in(open_folder) == ["c", "m.gguf"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root may read everything")
def test_a_checkpoint_that_may_not_be_read(checkpoint, faulty, open_folder):
    for number, name in enumerate(["model-00001-of-00002.safetensors", "config.json", "tokenizer.json"]):
        copy = Path(shutil.copytree(checkpoint, open_folder / f"c{number}"))
        (copy / name).chmod(0)
        (open_folder / "out").mkdir(mode=0o777, exist_ok=True)
        (open_folder / "out").chmod(0o777)
        outcome = faulty.run(convert(copy, open_folder / "out" / "m.gguf"), as_nobody=True)
        check_one_error(outcome)
        assert name in outcome.stderr
        assert "Permission denied" in outcome.stderr
        assert left_in(open_folder / "out") == []


TARGETS = {
    "folder in a folder": lambda path: (path / "c-Q8_0.gguf").mkdir(parents=True),
    "link to a file": lambda path: ((path.parent / "x").write_bytes(b"x"), path.symlink_to("x")),
    "link to nowhere": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "FIFO": os.mkfifo if hasattr(os, "mkfifo") else None,
    "device": lambda path: None,
    "name too long": lambda path: None,
    "below a file": lambda path: path.write_bytes(b"x"),
}


@pytest.mark.parametrize("more", [(), ("--force",)])
@pytest.mark.parametrize("kind", TARGETS)
def test_targets_that_are_no_place_for_a_file(kind, more, checkpoint, faulty, tmp_path):
    target = tmp_path / "m.gguf"
    TARGETS[kind](target)
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    asked = {
        "device": Path(os.devnull),
        "name too long": tmp_path / ("m" * 256),
        "below a file": target / "m",
    }
    check_one_error(faulty.run(convert(checkpoint, asked.get(kind, target), *more)))
    after = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert {name: (state.st_ino, state.st_size) for name, state in before.items()} == {
        name: (state.st_ino, state.st_size) for name, state in after.items()
    }


def test_a_name_of_255_bytes(checkpoint, faulty, tmp_path, untouched):
    output = tmp_path / ("m" * 250 + ".gguf")
    assert faulty.run(convert(checkpoint, output)).returncode == 0
    assert output.read_bytes() == untouched[0]


def test_a_leftover_of_a_running_conversion_is_not_touched(checkpoint, faulty, tmp_path):
    """Only a file whose owner is gone is cleared up: two conversions may share a folder."""
    with files.new_file(tmp_path / "other") as running:
        running.write(b"half")
        (tmp_path / ".phi4local-0123456789abcdef.partial").write_bytes(b"left by a kill")
        assert faulty.run(convert(checkpoint, tmp_path / "m.gguf")).returncode == 0
        assert len(leftovers(tmp_path)) == 1
    assert left_in(tmp_path) == ["m.gguf", "other"]
    validate(tmp_path / "m.gguf")
