"""When the compute threads spin: the judgement on made-up waiting times, and libgomp itself in a process."""

import os
import subprocess
import sys

import pytest

from phi4local.engine import contention
from phi4local.engine.contention import Contention

PROBE = """
import ctypes, os, sys, time
from phi4local.native.llama import bindings
bindings()
from phi4local.native.spinning import Spinning, _libgomp
library = _libgomp()
nothing = ctypes.cast(ctypes.CDLL(None).free, ctypes.c_void_p)

def rounds():
    # CPU seconds that a pool of two burns while nobody gives it work: its one waiting thread spins.
    library.GOMP_parallel(nothing, None, ctypes.c_uint(2), ctypes.c_uint(0))
    before = time.process_time()
    time.sleep(0.5)
    return time.process_time() - before

spinning = Spinning()
print(spinning.adjustable)
loose = [rounds() for _ in range(4)]
spinning.stop()
spinning.stop()
print(spinning.stopped)
stopped = [rounds() for _ in range(4)]
spinning.resume()
print(spinning.stopped)
again = [rounds() for _ in range(4)]
print(max(loose) > 4 * max(stopped), max(again) > 4 * max(stopped))
print(loose, stopped, again, file=sys.stderr)
"""


class Switch:
    """Stands in for libgomp: what was asked of it."""

    adjustable = True

    def __init__(self):
        self.asked = []

    def stop(self):
        self.asked.append("stop")

    def resume(self):
        self.asked.append("resume")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the tests set by hand."""
    now = [100.0]
    monkeypatch.setattr(contention.time, "perf_counter", lambda: now[0])
    return now


def test_threads_sleep_at_once_and_spin_again_after_five_calm_intervals(clock):
    switch, waited = Switch(), [0.0]
    watch = Contention(switch, 2, waited=lambda: waited[0])
    watch.observe()
    for seconds, share in ((0.2, 0.02), (0.2, 0.38), *[(0.25, 0.0)] * 5):
        clock[0] += seconds
        waited[0] += share * seconds * 2
        watch.observe()
    assert switch.asked == ["stop", "resume"]


def test_shares_between_the_two_limits_change_nothing(clock):
    switch, waited = Switch(), [0.0]
    watch = Contention(switch, 4, waited=lambda: waited[0])
    for _ in range(20):
        clock[0] += 0.3
        waited[0] += 0.07 * 0.3 * 4
        watch.observe()
    assert switch.asked == []


def test_steps_within_an_interval_and_idle_time_are_not_judged(clock):
    switch, waited = Switch(), [0.0]
    watch = Contention(switch, 2, waited=lambda: waited[0])
    watch.observe()
    clock[0] += 0.05
    waited[0] += 10
    watch.observe()  # the interval is not over
    clock[0] += 60
    waited[0] += 30
    watch.observe()  # a new request: what happened while the engine had nothing to do does not count
    assert switch.asked == []


def test_one_thread_waits_for_nobody_and_an_unknown_time_is_no_reason(clock):
    for threads, waited in ((1, 50.0), (2, None)):
        switch = Switch()
        watch = Contention(switch, threads, waited=lambda: waited)  # noqa: B023 - called in this round only
        watch.observe()
        clock[0] += 1
        watch.observe()
        assert switch.asked == []


@pytest.mark.skipif(sys.platform != "linux", reason="schedstat is Linux's")
def test_the_waiting_time_of_this_process_grows_beside_others():
    """Two busy threads more than there are processors have to wait for each other."""
    code = (
        "import os, subprocess, sys, time\n"
        "from phi4local.engine.contention import seconds_without_core\n"
        "loops = [subprocess.Popen([sys.executable, '-c', 'while 1: pass'])"
        " for _ in range(len(os.sched_getaffinity(0)) + 1)]\n"
        "before = seconds_without_core()\n"
        "while seconds_without_core() - before < 0.05: pass\n"
        "for loop in loops: loop.kill(); loop.wait()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is used on Linux")
def test_libgomp_obeys(native_library):
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.split() == ["True", "True", "False", "True", "True"], done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp is used on Linux")
def test_what_a_person_chose_stays(native_library):
    code = (
        "from phi4local.native.llama import bindings; bindings()\n"
        "from phi4local.native.spinning import Spinning\n"
        "spinning = Spinning(); spinning.stop(); print(spinning.adjustable, spinning.stopped)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GOMP_SPINCOUNT": "5000"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["False", "False"]
