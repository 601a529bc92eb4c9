"""What the machine has, asked in the ways of the system."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phi4local import hardware
from phi4local.hardware import bandwidth


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


def test_available_memory_is_some_and_no_more_than_there_is():
    assert 0 < hardware.available_bytes() <= hardware.memory_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="the other systems do not list them")
def test_instruction_sets_are_those_that_the_system_lists():
    words = Path("/proc/cpuinfo").read_text().split()
    assert ("AVX2" in hardware.instruction_sets()) == ("avx2" in words)
    assert ("NEON" in hardware.instruction_sets()) == ("asimd" in words)


@pytest.mark.parametrize(
    ("description", "figure"),
    [
        ("NVIDIA H100 80GB HBM3", 3350e9),
        ("NVIDIA H100 PCIe", 2039e9),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 576e9),
        ("Apple M4 Max", 546e9),
        ("Somebody's GPU", None),
    ],
)
def test_a_gpu_is_known_by_its_longest_name(description, figure):
    assert bandwidth.of_gpu(description) == figure


def test_bandwidth_is_measured_once_for_a_machine(monkeypatch, tmp_path):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path))
    assert bandwidth.cached() is None
    found = bandwidth.measured()
    assert found > 1e8
    assert bandwidth.cached() == bandwidth.measured() == pytest.approx(found, abs=1)
    next(tmp_path.glob("machines/*.json")).write_text("{")
    assert bandwidth.cached() is None


def test_bandwidth_is_measured_where_no_folder_can_keep_it(monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", "~no-such-person/x")
    assert bandwidth.cached() is None
    assert bandwidth.measured() > 1e8


def test_a_machine_is_plain_numbers():
    machine = hardware.this_machine()
    assert machine.cores == hardware.usable_cores()
    assert 0 < machine.available_bytes <= machine.memory_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="the figure of getrusage is Linux's")
def test_peak_memory_is_not_that_of_the_parent_process():
    script = """
import subprocess, sys
weight = bytearray(300 * 2**20)
weight[::4096] = bytes(len(weight[::4096]))
command = "from phi4local import hardware; print(hardware.peak_memory_bytes())"
print(subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 2**20 < int(done.stdout) < 150 * 2**20
