"""Whatever kills the engine process is an error line, and the next request is served.

The table: each signal at each moment, with requests of several threads in flight, all in one parent. Signals
are real; they are sent when the message that marks the moment arrives.
"""

import os
import signal

import pytest

from phi4local.engine.worker import EngineWorker
from phi4local.errors import EngineCrashedError, EngineHungError
from phi4local.settings import LoadSettings
from tests.hostile.worker_crowd import ENDLESS, Crowd, Tap, exists, long_prompt, read, right_answers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

HANG_SECONDS = 1.0
SETTINGS = LoadSettings(context_tokens=2048, threads=1, parallel=4)
SIGNALS = ("SIGSEGV", "SIGABRT", "SIGKILL", "SIGSTOP")
"""SIGSTOP makes a hang: the process is there and says nothing."""


def at_loading(times):
    return counting(lambda message: message["type"] == "loading", times)


def at_loaded(_times):
    return lambda message: message["type"] == "loaded"


def at_prompt_step(times):
    return counting(lambda message: message["type"] == "step" and message["total"] > 1000, times)


def at_token(times):
    return counting(lambda message: len(message["token_ids"]) if message["type"] == "text" else 0, times)


def counting(count, times):
    """Return a moment that has come when `count` of the messages adds up to `times`."""
    seen = [0]

    def reached(message):
        seen[0] += count(message)
        return seen[0] >= times

    return reached


MOMENTS = {
    "idle": None,
    "load begins": (at_loading, 1),
    "in the load": (at_loading, 5),
    "load ends": (at_loaded, 1),
    "prompt step 1": (at_prompt_step, 1),
    "prompt step 2": (at_prompt_step, 2),
    "token 1": (at_token, 1),
    "token 2": (at_token, 2),
    "token 5": (at_token, 5),
    "token 17": (at_token, 17),
    "token 60": (at_token, 60),
    "token 150": (at_token, 150),
    "token 400": (at_token, 400),
}
FAST = {
    ("SIGSEGV", "idle"),
    ("SIGKILL", "in the load"),
    ("SIGABRT", "load ends"),
    ("SIGSEGV", "prompt step 1"),
    ("SIGSTOP", "token 17"),
    ("SIGKILL", "token 1"),
    ("SIGABRT", "token 60"),
}
TABLE = [
    pytest.param(name, moment, marks=() if (name, moment) in FAST else pytest.mark.full)
    for moment in MOMENTS
    for name in SIGNALS
]


@pytest.fixture(scope="module")
def worker(nano):
    with EngineWorker(hang_seconds=HANG_SECONDS) as worker:
        worker.load(nano, SETTINGS)
        yield worker


@pytest.fixture
def some_cases(cases, request):
    return cases if request.config.getoption("--full") else cases[2:6]


@pytest.mark.parametrize(("name", "moment"), TABLE)
def test_a_death_under_load_is_told_or_made_good(worker, some_cases, monkeypatch, name, moment):
    cases = some_cases
    assert right_answers(worker, cases[:1]) == [True]
    tap, old = Tap(monkeypatch), worker.process_id
    victims = []

    def strike(reached):
        def act(message):
            if not reached(message):
                return False
            victims.append(worker.process_id)
            os.kill(victims[-1], getattr(signal, name))
            return True

        tap.arm(act)

    at, times = MOMENTS[moment] or (None, 0)
    if at in (at_loading, at_loaded):
        os.kill(old, signal.SIGKILL)
        strike(at(times))
    elif at is None:
        victims.append(old)
        os.kill(old, getattr(signal, name))
    else:
        strike(at(times))
    marked = worker.submit(ENDLESS if at is at_token else long_prompt())
    crowd = Crowd(worker, cases[:4])
    outcomes = [read(marked), *crowd.wait()]

    assert at is None or tap.acted.is_set()
    assert not exists(old)
    for process_id in victims:
        assert not exists(process_id)
    for outcome in outcomes:
        check_outcome(outcome, name, deaths=2 if at in (at_loading, at_loaded) else 1)
    if at is at_token:
        assert outcomes[0].error is not None, "text was handed over: trying again would show it twice"
    for outcome, case in zip(outcomes[1:], cases, strict=False):
        assert outcome.error is not None or outcome.token_ids == case["generated_ids"]
    assert right_answers(worker, cases) == [True] * len(cases)


def check_outcome(outcome, name, deaths):
    """Check how a request ended: with an answer, or with the right error after text or a second death."""
    assert (outcome.finished is None) != (outcome.error is None)
    if outcome.error is None:
        return
    assert outcome.token_ids or deaths == 2, "nothing was handed over: it should have been tried again"
    assert outcome.error.hint
    if name == "SIGSTOP":
        assert type(outcome.error) is EngineHungError
        assert outcome.error.seconds > HANG_SECONDS
    else:
        assert type(outcome.error) is EngineCrashedError
        assert ("was killed" if name == "SIGKILL" else name) in outcome.error.how


def test_the_table_has_fifty_deaths():
    assert len(TABLE) >= 50
    assert {*FAST} <= {(name, moment) for name in SIGNALS for moment in MOMENTS}
