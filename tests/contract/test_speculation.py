"""Guessed tokens change how many steps an answer takes, and nothing else about it.

The embedded model repeats itself when it has to go on after the end, so most of its guesses are right there.
"""

import collections
import json
import random

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import ContextShifted, Request
from phi4local.engine.engine import Engine
from phi4local.engine.worker import EngineWorker
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

GREEDY = SamplingSettings(temperature=0, logprobs=2)


@pytest.fixture(scope="module")
def model_file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("f32") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture(scope="module")
def start(model_file, native_library):
    """`start(speculation="lookup")`: an engine; the same settings give the same one again."""
    engines = {}

    def start(**settings):
        settings = {"context_tokens": 512, "threads": 1, "kv_type": "f32", "parked_tokens": 0} | settings
        key = tuple(sorted(settings.items()))
        if key not in engines:
            engines[key] = Engine(model_file, LoadSettings(**settings))
        return engines[key]

    yield start
    for engine in engines.values():
        engine.close()


def ask(ids, sampling=GREEDY, **fields):
    fields = {"max_tokens": 100, "ignore_end": True} | fields
    return Request(segments=(TokenSegment(tuple(ids)),), sampling=sampling, **fields)


def some_ids(seed):
    """A prompt of random tokens, a part of which comes twice."""
    chance = random.Random(seed)
    ids = chance.choices(range(8000), k=chance.randrange(10, 100))
    return ids + ids[: chance.randrange(2, 10)]


def assert_the_same(answer, other):
    """Sums of floats depend on what else is in the batch: where ids part, both must have been as likely."""
    pairs = zip(answer.token_ids, other.token_ids, strict=True)
    parting = next((i for i, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
    if parting is not None:
        (first, likely), (second, less_likely) = other.logprobs[parting].top
        assert {first, second} == {answer.token_ids[parting], other.token_ids[parting]}
        assert likely - less_likely < 1e-3  # the tolerance of the logits against transformers
    else:
        assert answer.text == other.text
        assert answer.finished.reason == other.finished.reason


LAYOUTS = {
    "one pool of cells": {},
    "several at once": {"parallel": 4},
    "a stream for each": {"parallel": 4, "unified_kv": False},
    "too few cells for all": {"parallel": 4, "cache_tokens": 512},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [4, pytest.param(200, marks=pytest.mark.full)])
def test_greedy_answers_are_the_same_with_and_without(start, layout, count):
    engine = start(speculation="lookup", **LAYOUTS[layout])
    requests = [ask(some_ids(seed)) for seed in range(count)]
    width = LAYOUTS[layout].get("parallel", 1)
    answers = []
    for first in range(0, count, width):
        running = [engine.submit(request) for request in requests[first : first + width]]
        answers += [generation.result() for generation in running]
    for request, answer in zip(requests, answers, strict=True):
        assert_the_same(answer, start(speculation="off").submit(request).result())
    accepted = sum(answer.finished.usage.accepted_tokens for answer in answers)
    if layout != "a stream for each":  # which has no row of logits to spare while all four are in work
        assert accepted > 10 * count


def test_answers_with_real_ends_are_those_of_transformers(start, checkpoint):
    engine = start(speculation="lookup")
    for case in json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"]:
        # The answer stands in the prompt of a question that was asked before, so that guesses reach its end.
        engine.submit(ask(case["prompt_ids"] + case["generated_ids"], max_tokens=1)).result()
        request = ask(case["prompt_ids"], max_tokens=64, ignore_end=False)
        answer = engine.submit(request).result()
        assert list(answer.token_ids) == case["generated_ids"]
        assert answer.finished.reason == ("stop" if case["stopped"] else "length")


WAYS = {
    "usual": {},
    "penalties": {"repeat_penalty": 1.1, "frequency_penalty": 0.1, "penalty_last_tokens": 32},
    "DRY": {"dry_multiplier": 0.5, "temperature": 0.3},
    "mirostat 1": {"mirostat": 1, "mirostat_tau": 1.0},
    "mirostat 2": {"mirostat": 2, "mirostat_tau": 1.0},
    "XTC": {"xtc_probability": 0.5, "xtc_threshold": 0.1},
    "a long list": {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 0.4},
    "bias and log-probabilities": {"logit_bias": {300: 5.0}, "logprobs": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_random_choices_are_made_in_the_same_order(start, way):
    """Each token comes from its own row with the next random number, whatever was guessed."""
    accepted = 0
    for seed in range(3):
        sampling = SamplingSettings(**{"temperature": 0.5, "seed": seed} | WAYS[way])
        request = ask(some_ids(seed), sampling)
        answer = start(speculation="lookup").submit(request).result()
        other = start(speculation="off").submit(request).result()
        assert answer.token_ids == other.token_ids
        assert answer.text == other.text
        accepted += answer.finished.usage.accepted_tokens
    assert accepted or way in ("penalties", "DRY")  # these are there to prevent repetition


def test_a_seeded_answer_repeats(start):
    request = ask(some_ids(1), SamplingSettings(temperature=0.7, seed=5))
    engine = start(speculation="lookup")
    first, second = engine.submit(request).result(), engine.submit(request).result()
    assert (first.token_ids, first.finished.usage.accepted_tokens) == (
        second.token_ids,
        second.finished.usage.accepted_tokens,
    )


def test_left_to_itself_a_seeded_answer_has_no_guesses(start):
    request = ask(some_ids(1), SamplingSettings(temperature=0, seed=5))
    assert start(speculation="auto").submit(request).result().finished.usage.drafted_tokens == 0


def test_an_answer_can_end_anywhere_in_a_guess(start):
    whole = start(speculation="off").submit(ask(some_ids(0))).result()
    engine = start(speculation="lookup")
    for count in range(1, 40, 4):
        answer = engine.submit(ask(some_ids(0), max_tokens=count)).result()
        assert answer.token_ids == whole.token_ids[:count]
        assert answer.finished.reason == "length"
    for place in range(5, 60, 11):
        sampling = SamplingSettings(temperature=0, logprobs=2, stop=(whole.text[place : place + 5],))
        answer = engine.submit(ask(some_ids(0), sampling)).result()
        assert_the_same(answer, start(speculation="off").submit(ask(some_ids(0), sampling)).result())


def test_cells_of_wrong_guesses_are_gone(start):
    """The next turn goes on with what is kept: it must be what was said."""
    engine = start(speculation="lookup")
    for seed in range(20, 23):
        ids = some_ids(seed)
        answer = engine.submit(ask(ids, SamplingSettings(temperature=0.9, seed=seed))).result()
        assert answer.finished.usage.drafted_tokens >= answer.finished.usage.accepted_tokens
        turn = ask([*ids, *answer.token_ids, 17, 18, 19], max_tokens=20)
        following = engine.submit(turn).result()
        assert following.finished.usage.reused_tokens == len(ids) + len(answer.token_ids) - 1
        assert_the_same(following, start(speculation="off", context_tokens=511).submit(turn).result())


def test_a_shared_prefix_stays_shared(start):
    engine = start(speculation="lookup", parallel=4)
    ids = some_ids(3) * 2
    requests = [ask([*ids, end], GREEDY) for end in (5, 6, 7, 8)]
    together = [generation.result() for generation in [engine.submit(r) for r in requests]]
    for request, answer in zip(requests, together, strict=True):
        assert_the_same(answer, start(speculation="off").submit(request).result())


def test_turns_are_dropped_at_the_same_token(start):
    turns = [tuple(random.Random(seed).choices(range(8000), k=20)) for seed in range(6)]
    request = Request(
        segments=tuple(TokenSegment(turn) for turn in turns),
        sampling=GREEDY,
        max_tokens=300,
        ignore_end=True,
        turn_starts=(1, 2, 3, 4, 5),
    )
    runs = {}
    for mode in ("lookup", "off"):
        place, shifts = 0, []
        for event in (generation := start(speculation=mode, context_tokens=256).submit(request)):
            if isinstance(event, ContextShifted):
                shifts.append((place, event.turns, event.tokens))
            place += len(getattr(event, "token_ids", ()))
        runs[mode] = shifts, generation.result()
    assert runs["lookup"][0] == runs["off"][0] != []
    assert runs["lookup"][1].finished.usage.accepted_tokens > 50
    assert_the_same(runs["lookup"][1], runs["off"][1])


def test_guesses_are_checked_where_a_device_cuts_the_logits(start):
    sampling = SamplingSettings(temperature=0)
    for seed in range(3):
        request = ask(some_ids(seed), sampling)
        answer = start(speculation="lookup", device_cut=True).submit(request).result()
        assert answer.finished.usage.accepted_tokens
        assert answer.token_ids == start(speculation="off").submit(request).result().token_ids


def test_a_cancelled_answer_is_a_beginning_of_the_whole(start):
    engine = start(speculation="lookup")
    whole = engine.submit(ask(some_ids(0), max_tokens=400)).result()
    generation = engine.submit(ask(some_ids(0), max_tokens=400))
    next(iter(generation))
    generation.cancel()
    answer = generation.result()
    assert whole.token_ids[: len(answer.token_ids)] == answer.token_ids
    assert engine.submit(ask(some_ids(0), max_tokens=400)).result().token_ids == whole.token_ids


def test_counts_come_through_the_worker(model_file, native_library):
    with EngineWorker() as worker:
        worker.load(model_file, LoadSettings(context_tokens=512, threads=1, speculation="lookup"))
        usage = worker.submit(ask(some_ids(0))).result().finished.usage
    assert usage.drafted_tokens >= usage.accepted_tokens > 0


def chi_square(counts, others):
    """Pearson's statistic of two samples, and its degrees of freedom; rare outcomes are put together."""
    rows = [(counts[key], others[key]) for key in sorted({*counts, *others})]
    common = [row for row in rows if sum(row) >= 10]
    rare = [row for row in rows if sum(row) < 10]
    if rare:
        common.append((sum(row[0] for row in rare), sum(row[1] for row in rare)))
    totals = [sum(column) for column in zip(*common, strict=True)]
    statistic = 0.0
    for row in common:
        for seen, total in zip(row, totals, strict=True):
            expected = sum(row) * total / sum(totals)
            statistic += (seen - expected) ** 2 / expected
    return statistic, len(common) - 1


def far_apart(counts, others):
    """Whether chance gives such a statistic less than once in 10,000 times (Wilson and Hilferty 1931)."""
    statistic, freedom = chi_square(counts, others)
    spread = 2 / (9 * freedom)
    return ((statistic / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5 > 3.719


FIRST, SECOND = 4000, 5000


def sampled(engine, seeds, bias=30.0):
    """Counts of answers of four tokens, each one of two, and how many tokens were guessed right."""
    sampling = {"temperature": 2.0, "top_p": 1.0, "min_p": 0.0, "logit_bias": {FIRST: bias, SECOND: 30.0}}
    counts, accepted = collections.Counter(), 0
    for seed in seeds:
        request = ask([FIRST, SECOND] * 6, SamplingSettings(**sampling, seed=seed), max_tokens=4)
        answer = engine.submit(request).result()
        counts[answer.token_ids] += 1
        accepted += answer.finished.usage.accepted_tokens
    return counts, accepted


@pytest.mark.parametrize("count", [150, pytest.param(5000, marks=pytest.mark.full)])
def test_sampled_answers_are_distributed_as_without(start, count):
    with_guesses, accepted = sampled(start(speculation="lookup"), range(count))
    without, _ = sampled(start(speculation="off"), range(count, 2 * count))
    assert accepted > count / 10
    assert len(without) > 3
    assert not far_apart(with_guesses, without)
    planted, _ = sampled(start(speculation="off"), range(count, 2 * count), bias=32.0)
    assert far_apart(with_guesses, planted)  # the test can fail
