"""What is tried again after a death, what is not, and what stops a circle of deaths."""

import os
import shutil
import signal
import time

import pytest

from phi4local.engine import Request
from phi4local.engine.worker import EngineWorker, restarts
from phi4local.errors import EngineCrashedError, EngineRestartError, ModelFileChangedError
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.settings import LoadSettings
from tests.hostile.worker_crowd import (
    ENDLESS,
    GREEDY,
    PROMPT_TOKENS,
    Crowd,
    Tap,
    read,
    request_of,
    right_answers,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
SETTINGS = LoadSettings(context_tokens=2048, threads=1, parallel=4)
PILL = Request(segments=(TokenSegment((8104, 292) * (PROMPT_TOKENS // 2)),), sampling=GREEDY, max_tokens=5)


@pytest.fixture
def worker(nano):
    with EngineWorker() as worker:
        worker.load(nano, SETTINGS)
        yield worker


@pytest.fixture
def tap(monkeypatch):
    return Tap(monkeypatch)


def kill_always(worker, tap, when):
    """Kill the process at each message of a kind; return the list of the killed ones."""
    killed = []

    def act(message):
        if when(message):
            killed.append(worker.process_id)
            os.kill(killed[-1], signal.SIGSEGV)
        return False

    tap.arm(act)
    return killed


def test_a_request_that_kills_each_process_ends_after_its_second_one_and_alone(worker, tap, cases):
    killed = kill_always(
        worker, tap, lambda message: message["type"] == "step" and message["total"] == PROMPT_TOKENS
    )
    pill = worker.submit(PILL)
    crowd = Crowd(worker, cases[:6])
    outcome = read(pill)
    assert type(outcome.error) is EngineCrashedError
    assert len(set(killed)) == 2
    assert [other.token_ids for other in crowd.wait()] == [case["generated_ids"] for case in cases[:6]]
    assert right_answers(worker, cases) == [True] * len(cases)


def test_two_deadly_requests_end_no_harmless_one_that_still_waits(worker, tap, cases):
    killed = kill_always(
        worker, tap, lambda message: message["type"] == "step" and message["total"] == PROMPT_TOKENS
    )
    crowd = [worker.submit(request) for request in (PILL, request_of(cases[0]), PILL, request_of(cases[1]))]
    outcomes = [read(generation) for generation in crowd]
    assert [type(outcome.error) for outcome in outcomes[::2]] == [EngineCrashedError] * 2
    assert len(set(killed)) >= 3
    for outcome, case in zip(outcomes[1::2], cases, strict=False):
        if outcome.error is None:
            assert outcome.token_ids == case["generated_ids"]
        else:  # it had begun to stream when the second deadly one had its trial
            assert outcome.token_ids
            assert type(outcome.error) is EngineCrashedError
    assert right_answers(worker, cases[:2]) == [True, True]


def test_a_question_is_asked_again(worker, tap, cases):
    tap.arm(lambda message: message["type"] == "loaded")
    os.kill(worker.process_id, signal.SIGSTOP)  # so that it is the question which meets the death
    os.kill(worker.process_id, signal.SIGKILL)
    segments = [TextSegment("<|im_end|>", special=True)]
    assert worker.tokenize(segments) == [8105]
    assert tap.acted.is_set()


def test_a_model_that_dies_whenever_it_loads_is_not_loaded_in_a_circle(worker, tap, cases, monkeypatch):
    monkeypatch.setattr(restarts, "PAUSE_SECONDS", 3600.0)
    killed = kill_always(worker, tap, lambda message: message["type"] == "loading")
    os.kill(worker.process_id, signal.SIGKILL)
    for _ in range(2):  # the first one to meet its own second death, the next one what is left of the three
        waiting = [worker.submit(request_of(case)) for case in cases]
        errors = [read(generation).error for generation in waiting]
        assert {type(error) for error in errors} <= {EngineCrashedError, EngineRestartError}
    assert len(set(killed)) == 2, "with the first one, these are three lives without a word"

    last = worker.process_id
    for _ in range(20):
        error = read(worker.submit(request_of(cases[0]))).error
        assert type(error) is EngineRestartError
        assert "SIGSEGV" in str(error)
        assert error.hint
    assert worker.process_id == last, "no further process was started"

    tap.act = None
    monkeypatch.setattr(restarts, "PAUSE_SECONDS", 0.0)  # the pause is over
    assert right_answers(worker, cases) == [True] * len(cases)


@pytest.mark.parametrize("change", ["replaced", "removed", "written to"])
def test_a_file_that_changed_is_not_loaded_again(nano, cases, tmp_path, change):
    path = tmp_path / "model.gguf"
    shutil.copyfile(nano.path, path)
    file = type(nano)(
        path=path,
        trained_context_tokens=nano.trained_context_tokens,
        layers=nano.layers,
        user_defined_tokens=nano.user_defined_tokens,
    )
    with EngineWorker() as worker:
        worker.load(file, SETTINGS)
        if change == "replaced":  # an equal one, but who knows: it was not checked
            shutil.copyfile(nano.path, tmp_path / "other.gguf")
            os.utime(tmp_path / "other.gguf", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
            (tmp_path / "other.gguf").replace(path)
        elif change == "removed":
            path.unlink()
        else:
            os.utime(path)
        assert right_answers(worker, cases[:2]) == [True, True], "the running one is not concerned"
        os.kill(worker.process_id, signal.SIGKILL)
        for _ in range(2):
            error = read(worker.submit(request_of(cases[0]))).error
            assert type(error) is ModelFileChangedError
            assert str(path) in str(error)
            assert error.hint
        with pytest.raises(ModelFileChangedError):
            worker.tokenize([])


def test_a_cancelled_request_is_not_tried_again(worker, tap, cases):
    """Cancelled while its process is stopped: the cancellation has not arrived when that process dies."""
    running = worker.submit(ENDLESS)
    next(iter(running))
    waiting = worker.submit(request_of(cases[0]))
    os.kill(worker.process_id, signal.SIGSTOP)
    waiting.cancel()
    os.kill(worker.process_id, signal.SIGKILL)
    assert waiting.result().finished.reason == "cancelled"
    assert type(read(running).error) is EngineCrashedError


def test_a_request_that_waits_for_a_fresh_process_can_be_cancelled(worker, tap, cases):
    """The fresh process is stopped in its load, so that the request waits here."""

    def stop(message):
        if message["type"] == "loading":
            os.kill(worker.process_id, signal.SIGSTOP)
            return True
        return False

    os.kill(worker.process_id, signal.SIGKILL)
    tap.arm(stop)
    waiting, other = worker.submit(request_of(cases[0])), worker.submit(request_of(cases[1]))
    assert tap.acted.wait(60)
    waiting.cancel()
    finished = waiting.result().finished
    assert finished.reason == "cancelled"
    assert finished.usage.prompt_tokens == finished.usage.generated_tokens == 0
    os.kill(worker.process_id, signal.SIGCONT)
    assert list(other.result().token_ids) == cases[1]["generated_ids"]


def test_recovery_needs_no_request_when_one_already_waits(worker, cases):
    """A death with work to do is followed by a fresh process, before anybody asks again."""
    old = worker.process_id
    running = [worker.submit(ENDLESS) for _ in range(SETTINGS.parallel)]  # so that nobody else begins
    second = worker.submit(request_of(cases[2]))
    next(iter(running[0]))
    os.kill(old, signal.SIGKILL)
    assert list(second.result().token_ids) == cases[2]["generated_ids"]
    assert worker.process_id != old


def test_an_idle_death_is_followed_by_a_fresh_process_when_somebody_asks(worker, cases):
    old = worker.process_id
    os.kill(old, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while os.path.exists(f"/proc/{old}") and time.monotonic() < deadline:  # noqa: PTH110 - a process
        time.sleep(0.01)
    assert worker.process_id == old
    assert right_answers(worker, cases[:1]) == [True]
    assert worker.process_id != old
