"""What the system is asked for, seen from outside: written, synced, renamed, then the folder synced."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.random_checkpoint import write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

CALLS = "write,pwrite64,pwritev,writev,fsync,fdatasync,rename,renameat,renameat2,link,linkat"
PUBLISH = """
import sys
from pathlib import Path
from phi4local.files import published
with published(Path(sys.argv[1])) as file:
    file.write(b"x" * 5000)
    file.write(b"y" * 5000)
"""


def traced(command: list[str], folder: Path) -> list[str]:
    """Run a command below strace; return what it did to files in `folder`, as call and name."""
    log = folder.parent / "calls.txt"
    subprocess.run(
        ["strace", "-f", "-y", "-s", "0", "-e", f"trace={CALLS}", "-o", log, *command],
        check=True,
        capture_output=True,
        timeout=300,
    )
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        if call and str(folder) in line:
            found.append(f"{call[1]} {line}")
    return found


def check_order(calls: list[str], folder: Path, final: str) -> None:
    """Check that the file's last write comes before its sync, then the rename, then the folder's sync."""
    kinds = [call.split(" ", 1)[0] for call in calls]
    renames = [
        at for at, call in enumerate(calls) if kinds[at].startswith(("rename", "link")) and final in call
    ]
    assert len(renames) == 1, calls
    before, after = range(renames[0]), range(renames[0] + 1, len(calls))
    of_the_file = [at for at in before if f"{folder}>" not in calls[at]]
    writes = [at for at in of_the_file if "write" in kinds[at]]
    syncs = [at for at in of_the_file if "sync" in kinds[at]]
    assert writes
    assert syncs
    assert max(writes) < max(syncs)
    assert [at for at in after if "sync" in kinds[at] and f"{folder}>" in calls[at]], (
        "the folder is not synced"
    )
    assert not [at for at in after if "write" in kinds[at]], "written after it has its name"


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    out = tmp_path / "out"
    out.mkdir()
    return write_random_checkpoint(tmp_path / "checkpoint"), out


@pytest.mark.parametrize("quantization", ["Q8_0", pytest.param("Q4_K_M", marks=pytest.mark.full)])
def test_a_converted_file_is_whole_on_the_disk_before_it_has_its_name(quantization: str, places):
    checkpoint, out = places
    output = out / "m.gguf"
    command = [
        sys.executable,
        "-m",
        "phi4local",
        "convert",
        str(checkpoint),
        "-q",
        quantization,
        "-o",
        str(output),
    ]
    check_order(traced(command, out), out, "m.gguf")


@pytest.mark.full
@pytest.mark.parametrize("runs", [10])
def test_the_bytes_do_not_depend_on_the_hash_seed(runs: int, tmp_path: Path):
    checkpoint = write_random_checkpoint(tmp_path / "checkpoint")
    digests = set()
    for seed in range(runs):
        output = tmp_path / f"{seed}.gguf"
        command = ["convert", str(checkpoint), "-q", "Q4_K_M", "-o", str(output), "-t", str(1 + seed % 2)]
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        subprocess.run(
            [sys.executable, "-m", "phi4local", *command], env=environment, check=True, capture_output=True
        )
        digests.add(hashlib.sha256(output.read_bytes()).hexdigest())
    assert len(digests) == 1
