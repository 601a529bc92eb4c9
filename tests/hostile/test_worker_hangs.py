"""A silent process is ended and replaced; a busy, slow or stopped one is not."""

import os
import signal
import struct
import subprocess
import sys
import time

import pytest

from phi4local.engine import Request, Text
from phi4local.engine.worker import EngineWorker
from phi4local.engine.worker.restarts import RestartLimit
from phi4local.engine.worker.watch import Watch
from phi4local.errors import ContextTooLongError, EngineCrashedError, EngineHungError, EngineRestartError
from phi4local.prompts import TextSegment
from phi4local.settings import LoadSettings
from tests.hostile.worker_crowd import ENDLESS, GREEDY, read, right_answers

SETTINGS = LoadSettings(context_tokens=2048, threads=1)
SIGNALS = pytest.mark.skipif(os.name == "nt", reason="signals")


def watch(hang_seconds=30.0, longest_tick=2.0):
    return Watch(hang_seconds=hang_seconds, longest_tick=longest_tick, now=0.0)


def silence(watched, seconds, start=0.0):
    """Let `seconds` pass in ticks of one second."""
    for second in range(1, seconds + 1):
        watched.tick(start + second)


@pytest.mark.parametrize(("slowest", "limit"), [(0.1, 30), (1.5, 30), (2, 40), (60, 1200)])
def test_the_limit_is_twenty_steps_and_at_least_thirty_seconds(slowest, limit):
    watched = watch(longest_tick=1000)
    watched.finished_step(5.0)
    watched.finished_step(5.0 + slowest)
    watched.finished_step(5.0 + slowest + 0.1)
    assert watched.limit_seconds == pytest.approx(limit)


def test_the_first_step_may_take_four_times_as_long_and_is_no_measure():
    watched = watch()
    assert watched.limit_seconds == 120
    silence(watched, 100)
    assert watched.silent_seconds == 100
    watched.finished_step(100.0)
    assert (watched.silent_seconds, watched.limit_seconds) == (0, 30)


def test_a_night_in_which_the_machine_slept_is_not_silence():
    watched = watch()
    watched.finished_step(1.0)
    watched.tick(1.5)
    watched.tick(30_000.0)
    assert watched.silent_seconds == 2.5
    watched.finished_step(30_000.5)
    assert watched.limit_seconds == 20 * 3.0


def test_starts_are_refused_after_three_early_deaths_in_a_minute_until_a_pause_is_over():
    limit = RestartLimit()
    cause = EngineCrashedError("died of SIGSEGV", "out of words")
    for now in (0.0, 10.0):
        limit.note_death(cause, early=True, now=now)
        limit.check(now=now)
    limit.note_death(cause, early=True, now=50.0)
    with pytest.raises(EngineRestartError, match=r"3 times.*SIGSEGV.*out of words") as caught:
        limit.check(now=60.0)
    assert caught.value.wait_seconds == 20
    limit.check(now=80.0)
    limit.note_death(cause, early=True, now=81.0)  # 10, 50, 81: more than a minute
    limit.check(now=82.0)
    limit.note_death(cause, early=True, now=83.0)
    with pytest.raises(EngineRestartError):
        limit.check(now=84.0)
    limit.note_death(cause, early=False, now=84.5)
    limit.check(now=84.5)


@SIGNALS
def test_a_silent_process_is_ended_and_replaced(nano, cases):
    with EngineWorker(hang_seconds=0.5) as worker:
        worker.load(nano, SETTINGS)
        events = iter(worker.submit(ENDLESS))
        assert isinstance(next(events), Text)
        old = worker.process_id
        os.kill(old, signal.SIGSTOP)
        with pytest.raises(EngineHungError) as caught:
            list(events)
        assert caught.value.seconds >= 0.5
        assert right_answers(worker, cases[:1]) == [True]
        assert worker.process_id != old


@SIGNALS
def test_new_requests_do_not_hide_a_silent_process(nano, cases):
    """Somebody asks more often than a silence is long."""
    with EngineWorker(hang_seconds=0.5) as worker:
        worker.load(nano, SETTINGS)
        assert right_answers(worker, cases[:1]) == [True]
        old = worker.process_id
        os.kill(old, signal.SIGSTOP)
        running = []
        deadline = time.monotonic() + 60
        while worker.process_id == old:
            assert time.monotonic() < deadline
            running.append(worker.submit(Request(segments=ENDLESS.segments, sampling=GREEDY, max_tokens=1)))
            time.sleep(0.05)  # the pace of those who ask
        for generation in running:
            assert len(generation.result().token_ids) == 1


@SIGNALS
def test_a_process_that_computes_but_does_not_listen_is_ended(nano, cases):
    """Its reading thread waits for the rest of a message that never comes; its text flows on."""
    with EngineWorker(hang_seconds=0.3) as worker:
        worker.load(nano, SETTINGS)
        assert right_answers(worker, cases[:1]) == [True]
        events = iter(worker.submit(ENDLESS))
        next(events)
        worker._lives._child._process.send(struct.pack("<I", 2**27))
        with pytest.raises(EngineHungError):
            list(events)
        assert right_answers(worker, cases[:1]) == [True]


@SIGNALS
@pytest.mark.parametrize("work", ["submit", "tokenize", "close"])
def test_a_stopped_process_holds_nobody(nano, work):
    big = Request(segments=(TextSegment("word " * 100_000, special=False),), sampling=GREEDY)
    worker = EngineWorker(hang_seconds=0.2)
    try:
        worker.load(nano, SETTINGS)
        os.kill(worker.process_id, signal.SIGSTOP)
        if work == "submit":
            assert type(read(worker.submit(big)).error) is ContextTooLongError  # the fresh process says so
        elif work == "tokenize":
            assert len(worker.tokenize(big.segments)) >= 100_000
    finally:
        worker.close()


@SIGNALS
def test_a_process_that_stops_while_it_loads_is_ended(nano):
    with EngineWorker(hang_seconds=0.1) as worker:
        os.kill(worker.process_id, signal.SIGSTOP)
        with pytest.raises(EngineHungError):
            worker.load(nano, LoadSettings())


STOPPED = """
import sys
from pathlib import Path
from phi4local.engine.worker import EngineWorker
from phi4local.engine.model import ModelFile
from phi4local.settings import LoadSettings
from phi4local.engine import Request
from tests.hostile.worker_crowd import ENDLESS, GREEDY
with EngineWorker(hang_seconds=0.5) as worker:
    worker.load(ModelFile(path=Path(sys.argv[1]), trained_context_tokens=2048, layers=8),
                LoadSettings(context_tokens=2048, threads=1))
    request = Request(segments=ENDLESS.segments, sampling=GREEDY, ignore_end=True, max_tokens=600)
    events = iter(worker.submit(request))
    next(events)
    print("running", flush=True)
    list(events)
    print("done", flush=True)
"""


@SIGNALS
@pytest.mark.parametrize("whom", ["the program alone", "the program and its process"])
def test_a_program_that_was_stopped_goes_on_where_it_was(nano, whom):
    """Ctrl-Z, several times as long as a hang, and `fg`."""
    program = subprocess.Popen(
        [sys.executable, "-c", STOPPED, str(nano.path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with program:
        assert program.stdout.readline() == "running\n"
        send = os.kill if whom == "the program alone" else os.killpg
        send(program.pid, signal.SIGSTOP)
        time.sleep(1.5)  # the time has to pass
        send(program.pid, signal.SIGCONT)
        out, err = program.communicate(timeout=120)
    assert (out, err, program.returncode) == ("done\n", "", 0)
