"""What a person types is kept in the session and nowhere else, and nothing is told to another machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from phi4local.convert import convert_checkpoint
from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "zebra-canary-7731"
KEPT = "sessions"
FLOWS: dict[str, tuple[list[str], str]] = {
    "run": (["run", "MODEL", CANARY, "--max-tokens", "4"], ""),
    "run as JSON": (["run", "MODEL", CANARY, "--max-tokens", "4", "--json"], ""),
    "run from a pipe": (["run", "MODEL", "--max-tokens", "4"], CANARY),
    "run raw": (["run", "MODEL", CANARY, "--raw", "--max-tokens", "4"], ""),
    "run with a system prompt": (["run", "MODEL", "Hi", "--system", CANARY, "--max-tokens", "4"], ""),
    "run of a model that is not here": (["run", "no-such-model", CANARY], ""),
    "run of a prompt that is too long": (["run", "MODEL", "Hi"], CANARY + " word" * 60000),
    "chat through a pipe": (["chat", "MODEL", "--max-tokens", "4"], f"{CANARY}\n"),
    "chat that keeps nothing": (["chat", "MODEL", "--max-tokens", "4", "--no-save"], f"{CANARY}\n"),
    "chat with a session": (["chat", "MODEL", "--max-tokens", "4", "--session", "s"], f"{CANARY}\n"),
    "a search in what was kept": (["sessions", "search", CANARY], ""),
}
FAST = ("run", "chat with a session")


@pytest.fixture(scope="module")
def model(checkpoint, native_library, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0")
    return path


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Give the command folders of its own for everything that programs write to."""
    names = ("PHI4LOCAL_HOME", "HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
    folders = {name: tmp_path / name.lower() for name in names}
    for folder in folders.values():
        folder.mkdir()
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **{name: str(path) for name, path in folders.items()}}


def command(name: str, model: Path) -> list[str]:
    arguments = [str(model) if part == "MODEL" else part for part in FLOWS[name][0]]
    return [sys.executable, "-m", "phi4local", *arguments]


def files_with(text: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.full) for name in FLOWS]
)
def test_what_was_typed_is_only_where_it_was_asked_to_be(name: str, model, places, tmp_path: Path):
    done = subprocess.run(
        command(name, model),
        input=FLOWS[name][1].encode(),
        env=places,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    found = files_with(CANARY, tmp_path)
    if "--session" not in FLOWS[name][0]:
        assert found == []
        return
    assert found
    for path in found:
        assert KEPT in path.relative_to(tmp_path).parts
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    "name", ["chat with a session", *(pytest.param(name, marks=pytest.mark.full) for name in FAST[:1])]
)
def test_no_other_machine_is_asked_or_told(name: str, model, places, tmp_path: Path):
    log = tmp_path / "calls.txt"
    traced = ["strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(log), *command(name, model)]
    subprocess.run(
        traced, input=FLOWS[name][1].encode(), env=places, capture_output=True, timeout=300, check=True
    )
    foreign = [line for line in log.read_text().splitlines() if "AF_INET" in line and "127.0.0.1" not in line]
    assert foreign == []


def test_the_check_of_sockets_would_notice_one(tmp_path: Path):
    """A datagram socket that is connected sends nothing, and shows in the list all the same."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = tmp_path / "calls.txt"
    script = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"
    subprocess.run(
        ["strace", "-f", "-e", "trace=connect", "-o", str(log), sys.executable, "-S", "-c", script],
        capture_output=True,
        check=False,
    )
    assert "192.0.2.1" in log.read_text()
