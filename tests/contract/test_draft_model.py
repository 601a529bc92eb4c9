"""A draft model changes how many steps an answer takes, and nothing else about it."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from phi4local import errors, gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import ContextShifted, Request
from phi4local.engine.engine import Engine
from phi4local.engine.worker import EngineWorker
from phi4local.prompts import TokenSegment
from phi4local.runtime import drafts
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings
from tests.contract.test_speculation import ask, assert_the_same
from tests.random_checkpoint import Size, write_random_checkpoint

LAYOUTS = {
    "one at a time": {},
    "several at once": {"parallel": 4},
    "a stream for each": {"parallel": 4, "unified_kv": False},
}
KINDS = {"good": 0.8, "short": 0.6, "foolish": 0.0}
"""Draft models, and which share of their guesses is right at least."""


@pytest.fixture(scope="module")
def files(checkpoint, tmp_path_factory):
    """phi4-nano in F32 as the model; as drafts itself in Q8_0, with half the context, and random weights."""
    folder = tmp_path_factory.mktemp("draft")
    convert_checkpoint(checkpoint, folder / "model.gguf", "F32")
    convert_checkpoint(checkpoint, folder / "good.gguf", "Q8_0")
    size = Size(vocabulary="nano", spread=0.2)
    convert_checkpoint(write_random_checkpoint(folder / "foolish", size), folder / "foolish.gguf", "Q8_0")
    return folder


@pytest.fixture(scope="module")
def model_file(files):
    def make(kind):
        file = file_facts(gguf.validate(files / "model.gguf")).model_file()
        if kind is None:
            return file
        name = "good" if kind == "short" else kind
        draft = drafts.draft_file(gguf.validate(files / f"{name}.gguf"))
        return replace(file, draft=replace(draft, trained_context_tokens=256) if kind == "short" else draft)

    return make


@pytest.fixture(scope="module")
def start(model_file, native_library):
    engines = {}

    def start(kind, **settings):
        settings = {"context_tokens": 512, "threads": 1, "kv_type": "f32", "speculation": "lookup"} | settings
        key = (kind, *sorted(settings.items()))
        if key not in engines:
            engines[key] = Engine(model_file(kind), LoadSettings(**settings))
        return engines[key]

    yield start
    for engine in engines.values():
        engine.close()


def prompt(seed, count=40):
    return random.Random(seed).choices(range(8000), k=count)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [4, pytest.param(100, marks=pytest.mark.full)])
def test_greedy_answers_are_the_same_with_and_without(start, kind, layout, count):
    engine, alone = start(kind, **LAYOUTS[layout]), start(None, speculation="off")
    requests = [ask(prompt(seed), max_tokens=25 if count == 4 else 100) for seed in range(count)]
    width = LAYOUTS[layout].get("parallel", 1)
    answers = []
    for first in range(0, len(requests), width):
        running = [engine.submit(request) for request in requests[first : first + width]]
        answers += [generation.result() for generation in running]
    for request, answer in zip(requests, answers, strict=True):
        assert_the_same(answer, alone.submit(request).result())
    drafted = sum(answer.finished.usage.drafted_tokens for answer in answers)
    accepted = sum(answer.finished.usage.accepted_tokens for answer in answers)
    if layout != "a stream for each":  # which has no row of logits to spare while all four are in work
        assert drafted
        assert accepted >= KINDS[kind] * drafted


def test_random_choices_are_made_in_the_same_order(start):
    for seed in range(3):
        request = ask(prompt(seed), SamplingSettings(temperature=0.8, seed=seed), max_tokens=40)
        answer = start("good").submit(request).result()
        assert answer.token_ids == start(None, speculation="off").submit(request).result().token_ids
        assert answer.finished.usage.accepted_tokens


def test_left_to_itself_it_guesses_what_pays_and_changes_nothing(start):
    for kind in KINDS:
        request = ask(prompt(1), max_tokens=40)
        answer = start(kind, speculation="auto").submit(request).result()
        assert_the_same(answer, start(None, speculation="off").submit(request).result())


def test_a_prompt_longer_than_a_piece_is_read_between_steps(start):
    request = ask(prompt(5, 600), max_tokens=40)
    answer = start("good", context_tokens=1024).submit(request).result()
    assert_the_same(answer, start(None, speculation="off", context_tokens=1024).submit(request).result())
    assert answer.finished.usage.accepted_tokens > 10


def test_more_texts_than_streams_take_turns(start):
    engine = start("good", parallel=2)
    requests = [ask(prompt(seed), max_tokens=16) for seed in range(6)]
    answers = [generation.result() for generation in [engine.submit(request) for request in requests]]
    for request, answer in zip(requests, answers, strict=True):
        assert_the_same(answer, start(None, speculation="off").submit(request).result())
    assert all(answer.finished.usage.drafted_tokens for answer in answers)


def test_a_text_out_of_which_turns_were_dropped_is_read_again(start):
    turns = [tuple(prompt(seed, 20)) for seed in range(6)]
    request = Request(
        segments=tuple(TokenSegment(turn) for turn in turns),
        sampling=SamplingSettings(temperature=0, logprobs=2),
        max_tokens=180,
        ignore_end=True,
        turn_starts=(1, 2, 3, 4, 5),
    )
    engine = start("good", context_tokens=256)
    generation = engine.submit(request)
    assert any(isinstance(event, ContextShifted) for event in generation)
    answer = generation.result()
    assert answer.finished.usage.accepted_tokens > 60
    assert_the_same(answer, start(None, speculation="off", context_tokens=256).submit(request).result())


def test_a_cancelled_text_gives_its_stream_back(start):
    engine = start("good")
    whole = engine.submit(ask(prompt(0), max_tokens=100)).result()
    for _ in range(3):
        generation = engine.submit(ask(prompt(0), max_tokens=400))
        next(iter(generation))
        generation.cancel()
        generation.result()
    again = engine.submit(ask(prompt(0), max_tokens=100)).result()
    assert again.token_ids == whole.token_ids
    assert again.finished.usage.drafted_tokens == whole.finished.usage.drafted_tokens


def test_it_comes_through_the_worker(model_file, native_library):
    with EngineWorker() as worker:
        settings = LoadSettings(context_tokens=512, threads=1, speculation="lookup")
        worker.load(model_file("good"), settings)
        usage = worker.submit(ask(prompt(0))).result().finished.usage
    assert usage.accepted_tokens > 50


@pytest.mark.parametrize(
    ("vocabulary", "problem"),
    [
        ("small", r"has \d+ tokens instead of 8,\d+"),
        ("sentencepiece", "has another tokenizer: llama instead of gpt2"),
    ],
)
def test_another_vocabulary_is_refused(files, tmp_path, vocabulary, problem):
    folder = write_random_checkpoint(tmp_path / "other", Size(vocabulary=vocabulary))
    convert_checkpoint(folder, tmp_path / "other.gguf", "Q8_0")
    base = gguf.validate(files / "model.gguf")
    with pytest.raises(errors.InvalidSettingError, match=problem) as caught:
        drafts.draft_header(str(tmp_path / "other.gguf"), base)
    assert caught.value.hint


def test_the_command(run_cli, files):
    told = ["--temperature", "0", "--max-tokens", "40"]
    draft = ["--draft-model", str(files / "good.gguf"), "--speculation", "--stats"]
    model = str(files / "model.gguf")
    plain = run_cli(["run", model, "Tell me about elephants.", *told])
    drafted = run_cli(["run", model, "Tell me about elephants.", *told, *draft])
    assert drafted.returncode == 0, drafted.stderr
    assert drafted.stdout == plain.stdout
    drafted_count, accepted = (int(n) for n in re.search(r"(\d+) of (\d+) guesses", drafted.stderr).groups())
    assert 0 < drafted_count <= accepted
    missing = run_cli(["run", model, "Hello", "--draft-model", "no-such-model"])
    assert missing.returncode == 1
    assert missing.stderr.count("error:") == 1
    assert missing.stderr.count("hint:") == 1
