"""Whatever kills the engine process is an error line, and the next request is served."""

import os
import signal
import subprocess
import sys
import time

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request, Text
from phi4local.engine.model import ModelFile
from phi4local.engine.worker import EngineWorker, protocol
from phi4local.errors import (
    EngineCrashedError,
    EngineError,
    EngineHungError,
    InvalidSettingError,
    ModelLoadError,
)
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")
GREEDY = SamplingSettings(temperature=0)
LONG = Request(segments=(TokenSegment((8104, 292, 8106)),), sampling=GREEDY, ignore_end=True)
HELLO = Request(
    segments=(TextSegment("<|im_start|>user<|im_sep|>Hello<|im_end|>", special=True),), sampling=GREEDY
)


@pytest.fixture(scope="module")
def file(checkpoint, native_library, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0")
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture
def worker(file):
    with EngineWorker() as worker:
        worker.load(file, LoadSettings(context_tokens=2048, threads=1))
        yield worker


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGBUS", "SIGFPE"])
@pytest.mark.parametrize("moment", ["idle", "first text", "waiting"])
def test_a_death_is_told_and_the_next_request_gets_a_fresh_process(worker, number, moment):
    old = worker.process_id
    if moment == "idle":
        os.kill(old, getattr(signal, number))
        time.sleep(0.2)
    else:
        running = worker.submit(LONG)
        waiting = worker.submit(LONG)
        next(iter(running))
        os.kill(old, getattr(signal, number))
        with pytest.raises(EngineCrashedError) as caught:
            list(running)
        assert "killed" in str(caught.value) if number == "SIGKILL" else number in str(caught.value)
        if moment == "waiting":
            with pytest.raises(EngineCrashedError):
                waiting.result()
    assert worker.submit(HELLO).result().finished.usage.generated_tokens > 0
    assert worker.process_id != old


def test_a_silent_process_is_ended_and_replaced(file):
    with EngineWorker(hang_seconds=0.5) as worker:
        worker.load(file, LoadSettings(context_tokens=2048, threads=1))
        running = worker.submit(LONG)
        events = iter(running)
        assert isinstance(next(events), Text)
        os.kill(worker.process_id, signal.SIGSTOP)
        with pytest.raises(EngineHungError) as caught:
            list(events)
        assert caught.value.seconds >= 0.5
        assert worker.submit(HELLO).result().finished.usage.generated_tokens > 0


def test_a_library_abort_brings_its_reason(tmp_path, file, native_library):
    """A file that never passed the validator: block_count 0 aborts the library itself."""
    data = bytearray(file.path.read_bytes())
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


@pytest.mark.parametrize("work", ["submit", "tokenize", "close"])
def test_a_stopped_process_holds_nobody(file, work):
    big = Request(segments=(TextSegment("word " * 100_000, special=False),), sampling=GREEDY)
    worker = EngineWorker(hang_seconds=0.5)
    try:
        worker.load(file, LoadSettings(context_tokens=2048, threads=1))
        os.kill(worker.process_id, signal.SIGSTOP)
        if work == "submit":
            with pytest.raises(EngineHungError):
                worker.submit(big).result()
        elif work == "tokenize":
            with pytest.raises(EngineHungError):
                worker.tokenize(big.segments)
    finally:
        worker.close()


def test_a_process_that_stops_while_it_loads_is_ended(file):
    with EngineWorker(hang_seconds=0.1) as worker:
        os.kill(worker.process_id, signal.SIGSTOP)
        with pytest.raises(EngineHungError):
            worker.load(file, LoadSettings())


def test_an_error_while_progress_is_shown_is_raised_where_it_was_asked_for(file):
    def fail(_share):
        raise ZeroDivisionError

    with EngineWorker(on_loading=fail) as worker, pytest.raises(ZeroDivisionError):
        worker.load(file, LoadSettings())


def test_a_closed_worker_says_so_and_starts_nothing(worker):
    running = worker.submit(LONG)
    next(iter(running))
    process_id = worker.process_id
    worker.close()
    with pytest.raises(EngineError, match="closed"):
        list(running)
    with pytest.raises(EngineError, match="closed"):
        worker.submit(HELLO)
    assert worker.process_id == process_id


def test_a_prompt_that_no_message_holds_is_refused(worker, monkeypatch):
    monkeypatch.setattr(protocol, "MAX_MESSAGE_BYTES", 1000)
    with pytest.raises(InvalidSettingError, match="over 1,000 bytes"):
        worker.submit(Request(segments=(TextSegment("a" * 1001, special=False),), sampling=GREEDY))
    assert worker.submit(HELLO).result().finished.usage.generated_tokens > 0


def test_closing_ends_the_process_even_while_it_works(worker):
    running = worker.submit(LONG)
    next(iter(running))
    process_id = worker.process_id
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process_id, 0)


def test_the_process_ends_when_its_parent_is_killed(file):
    script = f"""
import os, signal, sys, time
from pathlib import Path
from phi4local.engine.worker import EngineWorker, protocol
from phi4local.engine.model import ModelFile
from phi4local.settings import LoadSettings
worker = EngineWorker()
worker.load(ModelFile(path=Path({str(file.path)!r}), trained_context_tokens=2048, layers=8), LoadSettings())
print(worker.process_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    child = int(result.stdout)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the engine process outlived its parent")
