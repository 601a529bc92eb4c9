"""What the machine has, asked in the ways of the system."""

import os
import subprocess
import sys

import pytest

from phi4local import hardware


def test_cores_are_at_least_one_and_no_more_than_the_system_has():
    assert 1 <= hardware.usable_cores() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_cores_respect_the_affinity_mask():
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    script += "from phi4local import hardware; print(hardware.usable_cores())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell")
def test_peak_memory_grows_with_what_is_used():
    before = hardware.peak_memory_bytes()
    block = bytearray(64 * 2**20)
    block[:: 2**12] = b"x" * len(block[:: 2**12])
    assert hardware.peak_memory_bytes() >= max(before, 64 * 2**20)


def test_the_description_is_ready_for_json():
    facts = hardware.describe()
    assert set(facts) == {"processor", "cores", "memory_bytes", "system", "python"}
    assert all(isinstance(value, str | int) for value in facts.values())
