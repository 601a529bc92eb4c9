"""The process around the engine: how it starts, what it says when it dies, and that nothing is left of it."""

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from phi4local.engine import Request
from phi4local.engine.model import ModelFile
from phi4local.engine.worker import EngineWorker, protocol
from phi4local.errors import EngineCrashedError, EngineError, InvalidSettingError, ModelLoadError
from phi4local.prompts import TextSegment
from phi4local.settings import LoadSettings
from tests.hostile.worker_crowd import (
    ENDLESS,
    GREEDY,
    Crowd,
    exists,
    long_prompt,
    read,
    request_of,
    right_answers,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
SETTINGS = LoadSettings(context_tokens=2048, threads=1, parallel=4)
ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc and prlimit")


@pytest.fixture
def worker(nano):
    with EngineWorker() as worker:
        worker.load(nano, SETTINGS)
        yield worker


def wait_until(condition):
    """Wait until something is so; it must become so."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_library_abort_brings_its_reason(tmp_path, nano):
    """A file that never passed the validator: block_count 0 aborts the library itself."""
    data = bytearray(nano.path.read_bytes())
    place = data.index(b"phi3.block_count") + len(b"phi3.block_count") + 4
    data[place : place + 4] = bytes(4)
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(data)
    with EngineWorker() as worker:
        with pytest.raises(EngineCrashedError, match=r"SIGABRT.*GGML_ASSERT.*n_layer") as caught:
            worker.load(ModelFile(path=bad, trained_context_tokens=2048, layers=8), LoadSettings())
        assert caught.value.hint


def test_a_refusal_of_the_library_brings_its_reason(tmp_path, native_library):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(100))
    with EngineWorker() as worker, pytest.raises(ModelLoadError, match="load"):
        worker.load(ModelFile(path=bad, trained_context_tokens=2048, layers=8), LoadSettings())


@ON_LINUX
@pytest.mark.parametrize("room_mib", [0, 4, 16, 32, 256])
def test_a_load_without_memory_is_an_error_line(nano, room_mib):
    """However far the load gets; with the last one it succeeds, and an answer may still fail."""
    import resource

    with EngineWorker() as worker:
        facts = Path("/proc") / str(worker.process_id)
        wait_until(lambda: "libllama" in (facts / "maps").read_text())
        size = int((facts / "statm").read_text().split()[0]) * resource.getpagesize()
        limit = size + room_mib * 2**20
        resource.prlimit(worker.process_id, resource.RLIMIT_AS, (limit, limit))
        if room_mib < 256:
            with pytest.raises(EngineError, match=r"^[^\n]+$") as caught:
                worker.load(nano, SETTINGS)
            assert caught.value.hint
        else:
            worker.load(nano, SETTINGS)
            assert read(worker.submit(long_prompt())).finished is not None


def test_an_error_while_progress_is_shown_is_raised_where_it_was_asked_for(nano):
    def fail(_share):
        raise ZeroDivisionError

    with EngineWorker(on_loading=fail) as worker, pytest.raises(ZeroDivisionError):
        worker.load(nano, LoadSettings())


def test_a_closed_worker_says_so_and_starts_nothing(worker, cases):
    running, waiting = worker.submit(ENDLESS), worker.submit(request_of(cases[0]))
    next(iter(running))
    process_id = worker.process_id
    worker.close()
    for generation in (running, waiting):
        with pytest.raises(EngineError, match="closed"):
            list(generation)
    with pytest.raises(EngineError, match="closed"):
        worker.submit(ENDLESS)
    assert worker.process_id == process_id


def test_closing_while_a_fresh_process_loads_tells_who_waits(worker, cases):
    os.kill(worker.process_id, signal.SIGKILL)
    waiting = [worker.submit(request_of(case)) for case in cases]
    worker.close()
    worker.close()
    for generation in waiting:
        with pytest.raises(EngineError):
            generation.result()
    assert not exists(worker.process_id)


def test_a_worker_without_a_model_says_so(native_library):
    with EngineWorker() as worker, pytest.raises(EngineError, match="no model"):
        worker.submit(ENDLESS)


def test_a_prompt_that_no_message_holds_is_refused(worker, cases, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_MESSAGE_BYTES", 1000)
    with pytest.raises(InvalidSettingError, match="over 1,000 bytes"):
        worker.submit(Request(segments=(TextSegment("a" * 1001, special=False),), sampling=GREEDY))
    monkeypatch.undo()
    assert right_answers(worker, cases[:1]) == [True]


def test_nonsense_from_the_process_is_an_error_and_not_a_traceback(worker, cases, monkeypatch):
    """Native code runs there on files of strangers: what it sends may be anything."""
    original = protocol.read_message

    def spoil(stream):
        message = original(stream)
        return message | {"token_ids": 5} if message and message["type"] == "text" else message

    monkeypatch.setattr(protocol, "read_message", spoil)
    error = read(worker.submit(request_of(cases[0]))).error
    assert "nonsense" in str(error)
    monkeypatch.undo()
    assert right_answers(worker, cases[:1]) == [True]


def test_closing_ends_the_process_even_while_it_works(worker):
    running = worker.submit(ENDLESS)
    next(iter(running))
    worker.close()
    assert not exists(worker.process_id)


def test_a_slow_reader_holds_up_nobody(worker, cases):
    unread = [worker.submit(request_of(case)) for case in cases[1:4]]
    outcomes = Crowd(worker, cases).wait()
    assert [outcome.token_ids for outcome in outcomes] == [case["generated_ids"] for case in cases]
    assert [read(late).token_ids for late in unread] == [case["generated_ids"] for case in cases[1:4]]


def test_many_threads_get_their_own_answers_and_token_ids(worker, cases):
    wrong = []

    def ask(place):
        for turn in range(3):
            case = cases[(place + turn) % len(cases)]
            ids = worker.tokenize([TextSegment(case["prompt"], special=True)])
            answer = worker.submit(request_of(case)).result()
            if ids != case["prompt_ids"] or list(answer.token_ids) != case["generated_ids"]:
                wrong.append(case["name"])

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_interrupted_question_does_not_answer_the_next_one(worker, monkeypatch):
    """Ctrl-C while waiting for token ids: the late answer belongs to nobody."""
    from phi4local.engine.worker import parent

    def interrupt(_answers):
        raise KeyboardInterrupt

    monkeypatch.setattr(parent, "wait_for", interrupt)
    with pytest.raises(KeyboardInterrupt):
        worker.tokenize([TextSegment("word " * 1000, special=False)])
    monkeypatch.undo()
    assert worker.tokenize([TextSegment("<|im_end|>", special=True)]) == [8105]


@ON_LINUX
@pytest.mark.parametrize("lives", [5, pytest.param(50, marks=pytest.mark.full)])
def test_no_life_leaves_anything_behind(nano, cases, lives):
    """Neither a process nor a thread nor an open file."""

    def left():
        return len(os.listdir("/proc/self/fd")), threading.active_count()  # noqa: PTH208 - no folder

    before, process_ids = left(), []
    with EngineWorker() as worker:
        worker.load(nano, SETTINGS)
        during = left()
        for life in range(lives):
            process_ids.append(worker.process_id)
            os.kill(worker.process_id, (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)[life % 3])
            assert right_answers(worker, cases[3:4]) == [True]
            assert worker.process_id not in process_ids
            wait_until(lambda: left() == during)
        process_ids.append(worker.process_id)
    wait_until(lambda: left() == before)
    assert not any(exists(process_id) for process_id in process_ids)


ORPHAN = """
import os, signal, sys
from pathlib import Path
from phi4local.engine.worker import EngineWorker
from phi4local.engine.model import ModelFile
from phi4local.settings import LoadSettings
from tests.hostile.worker_crowd import ENDLESS
worker = EngineWorker()
worker.load(ModelFile(path=Path(sys.argv[1]), trained_context_tokens=2048, layers=8),
            LoadSettings(context_tokens=2048, threads=1))
print(worker.process_id, flush=True)
if sys.argv[2] == "at work":
    running = [worker.submit(ENDLESS) for _ in range(20)]
    next(iter(running[0]))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("moment", ["idle", "at work"])
def test_the_process_ends_when_its_parent_is_killed(nano, moment):
    command = [sys.executable, "-c", ORPHAN, str(nano.path), moment]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert result.returncode == -signal.SIGKILL
    child = int(result.stdout)
    wait_until(lambda: not exists(child))


@ON_LINUX
@pytest.mark.parametrize("requests", [400, pytest.param(10_000, marks=pytest.mark.full)])
def test_cancelled_requests_leave_no_memory_behind(worker, requests):
    """Twenty at a time, cancelled before they start, while they wait and while they run."""

    def resident_bytes(process_id):
        pages = Path(f"/proc/{process_id}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def wave():
        running = [worker.submit(ENDLESS) for _ in range(20)]
        for generation in running[1::2]:
            generation.cancel()
        next(iter(running[0]))
        for generation in running[::2]:
            generation.cancel()
        for generation in running:
            assert generation.result().finished.reason == "cancelled"

    for _ in range(10):  # allocators take what they need
        wave()
    process_ids = os.getpid(), worker.process_id
    before = [resident_bytes(process_id) for process_id in process_ids]
    threads = threading.active_count()
    for _ in range(requests // 20):
        wave()
    grown = [resident_bytes(process_id) - old for process_id, old in zip(process_ids, before, strict=True)]
    # 10,000 leaked requests of a kilobyte each would be 10 MB.
    assert max(grown) < 4 * 2**20, f"grown by {grown} bytes (parent, child)"
    assert threading.active_count() == threads
    assert worker.process_id == process_ids[1]


def test_a_message_of_another_length_than_announced_ends_the_process(worker, cases):
    """The process cannot know where the next message begins, so it ends; a fresh one is right again."""
    worker._lives._child._process.send(struct.pack("<I", 3) + b"{}}")
    assert right_answers(worker, cases[:1]) == [True]
