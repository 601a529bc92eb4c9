"""What a person is told about the machine: by arithmetic on readings, and with a real nvidia-smi's lines."""

import json
import subprocess
import sys
import threading

import pytest

from phi4local.bench.conditions import Watch, between
from phi4local.hardware import nvidia
from phi4local.hardware.activity import Activity

QUIET = Activity(
    at_seconds=100, processors=2, busy_seconds=50, own_seconds=20, stolen_seconds=1, on_battery=False
)


def later(**changes):
    values = {"busy_seconds": 68.0, "own_seconds": 38.0, "stolen_seconds": 1.0, "on_battery": False}
    return Activity(at_seconds=110, processors=2, **{**values, **changes})


def test_a_quiet_machine_has_nothing_to_say():
    found = between(QUIET, later())
    assert (found.seconds, found.other_cores, found.stolen_cores) == (10, 0, 0)
    assert found.notes() == []
    json.dumps(found.to_mapping(), allow_nan=False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"own_seconds": 30.0}, "other programs used 0.8 of 2 processors while this was measured"),
        ({"stolen_seconds": 6.0}, "the host gave 0.5 of 2 processors to others"),
        ({"on_battery": True}, "on battery"),
        ({"allowed_clock_share": 0.5}, "hold the processor at 50% of its clock"),
        ({"clock_share": 0.4}, "never ran at more than 40% of its clock"),
    ],
)
def test_what_disturbs_is_one_line(changes, words):
    lines = between(QUIET, later(**changes)).notes()
    assert len(lines) == 1
    assert words in lines[0]


def test_a_tick_of_the_clock_in_a_short_test_is_no_disturbance():
    first = Activity(at_seconds=0, processors=2, busy_seconds=1.0, own_seconds=1.0)
    short = Activity(at_seconds=0.05, processors=2, busy_seconds=1.08, own_seconds=1.05)
    assert between(first, short).other_cores == 0.6
    assert between(first, short).notes() == []
    impossible = Activity(at_seconds=0.05, processors=2, busy_seconds=1.2, own_seconds=1.01)
    assert between(first, impossible).other_cores == 2


def test_heat_during_the_measurement_counts_and_heat_before_does_not():
    warm = Activity(at_seconds=100, processors=2, throttle_events=500)
    assert between(warm, later(throttle_events=500)).notes() == []
    assert "slowed down for heat 12 times" in between(warm, later(throttle_events=512)).notes()[0]


def test_energy_is_followed_over_the_end_of_its_counter():
    first = Activity(at_seconds=100, energy={"p": (900, 1000), "new": (5, 10)})
    found = between(first, later(energy={"p": (400, 1000)}))
    assert found.energy_joules == pytest.approx(500e-6, abs=1e-3)
    first = Activity(at_seconds=100, energy={"p": (9_000_000, 10_000_000), "q": (0, 10_000_000)})
    found = between(first, later(energy={"p": (4_000_000, 10_000_000), "q": (2_500_000, 10_000_000)}))
    assert found.energy_joules == 7.5
    assert found.energy_of == ("processor",)


def test_energy_of_gpus_is_their_mean_power_times_the_time():
    lines = [
        "0, 300.00, 0x0000000000000004",
        "1, 100.00, 0x0000000000000001",
        "0, 500.00, 0x0000000000000020",
    ]
    readings = [nvidia.parse(line, 105.0) for line in lines]
    found = between(QUIET, later(), readings)
    assert found.energy_joules == 10 * (400 + 100)
    assert found.gpu_slowed_by == ("heat", "power cap")
    assert found.notes() == ["a GPU was slowed down by heat and power cap"]


def test_an_idle_gpu_is_not_slowed_down():
    found = nvidia.parse("0, 71.47, 0x0000000000000001\n", 1.0)  # an H100 with driver 580.159 said this
    assert found == nvidia.GpuReading(at_seconds=1.0, index=0, watts=71.47, slowed_by=frozenset())


def test_lines_that_say_nothing_are_no_readings():
    assert nvidia.parse("No devices were found", 0.0) is None
    assert nvidia.parse("", 0.0) is None
    assert nvidia.parse("0, [N/A], 0x0000000000000000", 0.0).watts is None
    assert nvidia.parse("0, [N/A], [N/A]", 0.0) is None


def test_what_is_unknown_stays_unknown():
    found = between(Activity(at_seconds=1), Activity(at_seconds=2))
    assert found.other_cores is None
    assert found.energy_joules is None
    assert found.notes() == []


@pytest.mark.skipif(sys.platform == "win32", reason="a script as a program")
def test_a_program_that_prints_lines_is_read_until_it_is_closed(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\nwhile echo '0, 250.00, 0x0000000000000040'; echo noise; do sleep 0.02; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    arrived = threading.Event()
    parse = nvidia.parse

    def seen(line, at_seconds):
        found = parse(line, at_seconds)
        if found is None:
            arrived.set()
        return found

    monkeypatch.setattr(nvidia, "parse", seen)
    with Watch(gpu=True) as watch:
        watch.begin()
        for _ in range(2):  # a line that was on its way already, and one of later
            arrived.clear()
            assert arrived.wait(timeout=30)
        found = watch.end()
    assert found.gpu_slowed_by == ("heat",)
    assert found.energy_joules == pytest.approx(250 * found.seconds, abs=0.25)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_what_happens_after_the_beginning_counts():
    with Watch() as watch:
        assert watch.end() is None
        watch.look()
        watch.begin()
        subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=60)
        watch.look()
        found = watch.end()
        assert watch.end() is None
    assert found.seconds > 0
    assert found.other_cores <= found.processors
