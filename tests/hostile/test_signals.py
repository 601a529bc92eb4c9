"""Signals that ask a conversion to end, at random moments: the right exit code, and nothing left behind."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.random_checkpoint import NANO

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}


def convert(folder: Path) -> subprocess.Popen[bytes]:
    arguments = ["convert", str(NANO), "-q", "IQ4_XS", "-t", "1", "-o", str(folder / "m.gguf")]
    return subprocess.Popen([sys.executable, "-m", "phi4local", *arguments], stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("name", "count"), [("SIGTERM", 1), *(pytest.param(name, 10, marks=pytest.mark.full) for name in CODES)]
)
def test_an_end_that_is_asked_for_leaves_nothing(name: str, count: int, tmp_path: Path):
    moments = random.Random(name)
    hits = 0
    for number in range(count):
        folder = tmp_path / str(number)
        folder.mkdir()
        with convert(folder) as process:
            while process.poll() is None and not any(folder.iterdir()):  # Python cannot wait for a file
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.05))  # the moment is the case
            process.send_signal(getattr(signal, name))
            _, said = process.communicate(timeout=60)
        assert b"Traceback" not in said
        left = [path.name for path in folder.iterdir()]
        assert (process.returncode, left) in ((CODES[name], []), (0, ["m.gguf"]))
        hits += process.returncode != 0
    assert hits
