"""SIGKILL at random moments of a real `phi4local convert`: half a file never gets the name."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from phi4local import files
from phi4local.convert import convert_checkpoint
from tests.random_checkpoint import NANO

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
SIDE_BY_SIDE = 2


def convert(folder: Path) -> subprocess.Popen[bytes]:
    arguments = ["convert", str(NANO), "-q", "Q8_0", "-o", str(folder / "m.gguf")]
    return subprocess.Popen([sys.executable, "-m", "phi4local", *arguments], stderr=subprocess.DEVNULL)


def wait_for_the_first_write(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Return when there is a file, or when the process ended; Python cannot wait for the former."""
    while process.poll() is None and not any(folder.iterdir()):
        time.sleep(0.002)


def seconds_of_writing(folder: Path) -> float:
    """Return how long an untouched run takes from its first write to its end."""
    folder.mkdir()
    with convert(folder) as process:
        wait_for_the_first_write(process, folder)
        started = time.monotonic()
    assert process.returncode == 0
    return time.monotonic() - started


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill_and_run_again(folder: Path, seconds: float, expected: str) -> bool:
    """Check one case; return whether the kill came while the file was being written."""
    folder.mkdir()
    output = folder / "m.gguf"
    with convert(folder) as process:
        wait_for_the_first_write(process, folder)
        time.sleep(seconds)  # the moment is the case
        process.kill()
    left = [path.name for path in folder.iterdir() if path != output]
    assert all(name.endswith(files.TEMPORARY_SUFFIX) for name in left)
    half = bool(left) and not output.exists()
    if output.exists():
        assert digest(output) == expected
        output.unlink()
    convert_checkpoint(NANO, output, "Q8_0", threads=1)
    assert [path.name for path in folder.iterdir()] == ["m.gguf"]
    assert digest(output) == expected
    output.unlink()
    return half


@pytest.mark.timeout(600)  # each kill is a start of Python, of which a busy machine makes few a second
@pytest.mark.parametrize(
    ("seed", "kills"), [(0, 12), *(pytest.param(seed, 40, marks=pytest.mark.full) for seed in range(1, 6))]
)
def test_kills_at_random_moments(seed: int, kills: int, tmp_path: Path) -> None:
    convert_checkpoint(NANO, tmp_path / "untouched.gguf", "Q8_0")
    expected = digest(tmp_path / "untouched.gguf")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as executor:
        span = max(executor.map(seconds_of_writing, [tmp_path / f"s{n}" for n in range(SIDE_BY_SIDE)]))
        # The first one at once: a machine that is busy now and idle then has no span that fits both.
        choose = random.Random(seed)
        moments = [0.0, *(choose.uniform(0, span) for _ in range(kills - 1))]
        halves = list(
            executor.map(
                lambda number: kill_and_run_again(tmp_path / str(number), moments[number], expected),
                range(kills),
            )
        )
    assert any(halves), f"none of {kills} kills within {span} s came in the middle"
