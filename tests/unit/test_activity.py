"""Readings of /proc and /sys: real processes, and trees as kernels lay them out."""

import os
import subprocess
import sys

import pytest

from phi4local.hardware import activity

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
BURN = "import time\nwhile time.process_time() < 0.4: pass\n"
DETACHED = f"""
import os, sys
if os.fork():
    sys.exit(0)
os.setsid()
{BURN}
"""
RECORDED_STAT = """\
cpu  3071449 715485 428307 3741301 27253 0 11194 21681 0 0
cpu0 1389780 344295 185626 2066259 6828 0 3138 11165 0 0
cpu1 1681669 371190 242680 1675042 20424 0 8055 10516 0 0
intr 28645313 0 0
"""
"""Of a virtual machine with two processors, Linux 6."""


@pytest.fixture
def tree(tmp_path):
    """`tree({"proc/stat": "…"})`: a folder with these files."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def test_times_are_those_of_the_recorded_machine(tree):
    found = activity.read(tree({"proc/stat": RECORDED_STAT}), process=1)
    ticks = os.sysconf("SC_CLK_TCK")
    assert found.processors == 2
    assert found.busy_seconds == (3071449 + 715485 + 428307 + 0 + 11194) / ticks
    assert found.stolen_seconds == 21681 / ticks
    assert found.own_seconds == 0


def test_own_time_is_that_of_all_descendants_whatever_they_are_called(tree):
    def stat(parent, *times):
        return (
            f"7 (a) b (c) S {parent} 1 1 0 -1 4194304 1 2 3 4 {' '.join(map(str, times))} 20 0 1 0 99 5 6\n"
        )

    files = {
        "proc/stat": RECORDED_STAT,
        "proc/10/stat": stat(1, 100, 20, 3000, 400),
        "proc/11/stat": stat(10, 1, 2, 3, 4),
        "proc/12/stat": stat(11, 5, 5, 5, 5),
        "proc/13/stat": stat(1, 9999, 9999, 0, 0),
        "proc/14/stat": "cut off",
    }
    assert activity.read(tree(files), process=10).own_seconds == pytest.approx(35.50)


@linux
def test_the_time_of_a_child_that_ended_is_our_own():
    before = activity.read()
    subprocess.run([sys.executable, "-c", BURN], check=True, timeout=60)
    after = activity.read()
    assert after.own_seconds - before.own_seconds >= 0.35
    assert after.busy_seconds - before.busy_seconds >= 0.35


@linux
def test_the_time_of_a_strange_process_is_not_our_own():
    before = activity.read()
    done = subprocess.run([sys.executable, "-c", DETACHED], check=True, timeout=60, stdout=subprocess.PIPE)
    after = activity.read()  # its end of the pipe was closed when it had burnt its time
    assert done.returncode == 0
    assert after.busy_seconds - before.busy_seconds >= 0.35
    assert after.own_seconds - before.own_seconds < 0.3


@linux
def test_this_machine_can_be_read():
    found = activity.read()
    assert found.processors == os.cpu_count()
    assert 0 < found.own_seconds <= found.busy_seconds


def test_heat_is_counted_for_each_core_and_once_for_the_package(tree):
    folder = "sys/devices/system/cpu"
    files = {
        f"{folder}/cpu0/thermal_throttle/core_throttle_count": "3\n",
        f"{folder}/cpu1/thermal_throttle/core_throttle_count": "4\n",
        f"{folder}/cpu0/thermal_throttle/package_throttle_count": "100\n",
        f"{folder}/cpu1/thermal_throttle/package_throttle_count": "100\n",
        f"{folder}/cpuidle/current_driver": "intel_idle\n",
    }
    assert activity.read(tree(files)).throttle_events == 107


def test_clocks_are_shares_of_the_highest(tree):
    files = {}
    for processor, clock in enumerate((800_000, 3_600_000, 1_200_000)):
        folder = f"sys/devices/system/cpu/cpu{processor}/cpufreq"
        files[f"{folder}/scaling_cur_freq"] = f"{clock}\n"
        files[f"{folder}/scaling_max_freq"] = "2400000\n"
        files[f"{folder}/cpuinfo_max_freq"] = "4800000\n"
    root = tree(files)
    assert activity.read(root).clock_share == activity.clock_share(root) == 0.75
    assert activity.read(root).allowed_clock_share == 0.5


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="asks the system")
@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, False),
        (
            {"AC": {"type": "Mains", "online": "0"}, "BAT0": {"type": "Battery", "status": "Discharging"}},
            True,
        ),
        ({"AC": {"type": "Mains", "online": "1"}, "BAT0": {"type": "Battery", "status": "Charging"}}, False),
        ({"mouse": {"type": "Battery", "scope": "Device", "status": "Discharging"}}, False),
        ({"BAT0": {"type": "Battery", "scope": "System", "status": "Discharging"}}, True),
    ],
)
def test_a_battery_in_use_is_seen_and_a_mouse_is_none(tree, supplies, expected):
    files = {
        f"sys/class/power_supply/{name}/{key}": f"{value}\n"
        for name, values in supplies.items()
        for key, value in values.items()
    }
    assert activity.read(tree(files)).on_battery is expected


def test_energy_is_of_packages_and_memory_and_not_of_their_parts(tree):
    folder = "sys/class/powercap"
    files = {f"{folder}/intel-rapl/enabled": "1\n"}
    for name, domain, energy in (
        ("intel-rapl:0", "package-0", 262143328850),
        ("intel-rapl:0:0", "core", 5),
        ("intel-rapl:0:1", "dram", 7000000),
        ("intel-rapl:1", "psys", 9),
    ):
        files[f"{folder}/{name}/name"] = f"{domain}\n"
        files[f"{folder}/{name}/energy_uj"] = f"{energy}\n"
        files[f"{folder}/{name}/max_energy_range_uj"] = "262143328850\n"
    limit = 262143328850
    assert activity.read(tree(files)).energy == {
        "intel-rapl:0": (limit, limit),
        "intel-rapl:0:1": (7000000, limit),
    }


def test_a_machine_that_tells_nothing_is_unknown_and_no_error(tmp_path):
    found = activity.read(tmp_path)
    for name in ("busy_seconds", "own_seconds", "stolen_seconds", "throttle_events", "clock_share"):
        assert getattr(found, name) is None
    assert found.energy == {}
    assert found.processors >= 1
