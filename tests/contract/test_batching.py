"""Many requests in one batch: the same answers as alone, and nothing evaluated twice."""

import itertools
import json
import random
import threading

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import ContextShifted, Finished, Generation, Request, Text
from phi4local.engine.engine import Engine
from phi4local.engine.model import LoadedModel
from phi4local.engine.scheduler import Job, Scheduler
from phi4local.errors import EngineBusyError, InvalidSettingError
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

GREEDY = SamplingSettings(temperature=0)
PROMPT_ID = 292


@pytest.fixture(scope="module")
def model_file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("f32") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture(scope="module")
def expected(checkpoint):
    return json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"]


@pytest.fixture
def start(model_file, native_library):
    engines = []

    def start(**settings):
        engines.append(Engine(model_file, LoadSettings(**{"context_tokens": 512, "threads": 1} | settings)))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


def ask(ids, **fields):
    return Request(segments=(TokenSegment(tuple(ids)),), **{"sampling": GREEDY, "max_tokens": 64} | fields)


def some_ids(count, seed):
    return random.Random(seed).choices(range(8000), k=count)


def usages(generations):
    return [generation.result().finished.usage for generation in generations]


LAYOUTS = {
    "one pool of cells": {"parallel": 8},
    "a stream for each": {"parallel": 8, "unified_kv": False},
    "too few cells for all": {"parallel": 8, "cache_tokens": 512},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_in_a_batch_are_those_of_transformers(start, expected, layout):
    engine = start(**LAYOUTS[layout])
    cases = expected * 3
    generations = [engine.submit(ask(case["prompt_ids"])) for case in cases]
    assert [list(g.result().token_ids) for g in generations] == [case["generated_ids"] for case in cases]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("count", [4, pytest.param(100, marks=pytest.mark.full)])
def test_long_answers_in_a_batch_are_those_of_one_at_a_time(start, layout, count):
    """Sums of floats depend on what else is in the batch: where ids part, both must have been as likely."""
    prompts = [some_ids(random.Random(seed).randrange(1, 200), seed) for seed in range(count)]
    sampling = SamplingSettings(temperature=0, logprobs=2)
    requests = [ask(ids, sampling=sampling, max_tokens=120, ignore_end=True) for ids in prompts]
    engine = start(kv_type="f32", **LAYOUTS[layout])
    together = [generation.result() for generation in [engine.submit(request) for request in requests]]
    alone = start(kv_type="f32")
    for request, answer in zip(requests, together, strict=True):
        other = alone.submit(request).result()
        parting = next((i for i in range(120) if answer.token_ids[i] != other.token_ids[i]), None)
        if parting is not None:
            (first, likely), (second, less_likely) = other.logprobs[parting].top
            assert {first, second} == {answer.token_ids[parting], other.token_ids[parting]}
            assert likely - less_likely < 1e-3  # the tolerance of the logits against transformers


@pytest.mark.parametrize("fused", [None, False], ids=["fused", "not fused"])
def test_a_seed_gives_the_same_numbers_whatever_was_asked_before(checkpoint, tmp_path, fused, native_library):
    """Each request leaves cells behind; with two threads, sums are divided by how many cells are in use."""
    convert_checkpoint(checkpoint, tmp_path / "nano.gguf", "Q8_0")
    file = file_facts(gguf.validate(tmp_path / "nano.gguf")).model_file()
    settings = LoadSettings(threads=2, parallel=4, flash_attention=fused)
    sampling = SamplingSettings(temperature=0.8, seed=3, logprobs=2)
    with Engine(file, settings) as engine:
        request = ask(some_ids(13, 1), sampling=sampling, max_tokens=10, ignore_end=True)
        numbers = {engine.submit(request).result().logprobs for _ in range(30)}
    assert len(numbers) == 1


def test_a_system_prompt_of_eight_requests_is_evaluated_once(start):
    engine = start(parallel=8, context_tokens=2048)
    head = some_ids(1000, 0)
    generations = [engine.submit(ask([*head, *some_ids(5, seed)], max_tokens=4)) for seed in range(1, 9)]
    assert [usage.reused_tokens for usage in usages(generations)] == [0] + [1000] * 7


@pytest.mark.parametrize("layout", ["one pool of cells", "a stream for each"])
def test_a_second_turn_evaluates_exactly_its_new_tokens(start, layout):
    engine = start(**LAYOUTS[layout])
    first = engine.submit(ask(some_ids(50, 1), max_tokens=20, ignore_end=True)).result()
    for seed in range(2, 8):  # others come and go in between
        engine.submit(ask(some_ids(30, seed), max_tokens=2)).result()
    turn = [*some_ids(50, 1), *first.token_ids, *some_ids(9, 9)]
    usage = engine.submit(ask(turn, max_tokens=2)).result().finished.usage
    assert usage.prompt_tokens - usage.reused_tokens == 9 + 1  # the last token was chosen, not evaluated


def test_a_few_tokens_in_common_do_not_cost_a_conversation_its_stream(start):
    engine = start(parallel=3, unified_kv=False)
    head = some_ids(5, 0)
    for seed in (1, 2):
        engine.submit(ask([*head, *some_ids(100, seed)], max_tokens=1)).result()
    engine.submit(ask([*head, *some_ids(100, 3)], max_tokens=1)).result()
    requests = [ask([*head, *some_ids(100, seed)], max_tokens=1) for seed in (1, 2, 3)]
    reused = [engine.submit(request).result().finished.usage.reused_tokens for request in requests]
    assert reused == [104] * 3


def test_a_shared_prefix_outlives_the_sequence_that_brought_it(start):
    engine = start(parallel=2)
    head = some_ids(200, 0)
    long = engine.submit(ask([*head, 5], max_tokens=200, ignore_end=True))
    next(iter(long))
    long.cancel()
    long.result()
    again = engine.submit(ask([*head, 6], max_tokens=30, ignore_end=True)).result()
    fresh = start().submit(ask([*head, 6], max_tokens=30, ignore_end=True)).result()
    assert again.finished.usage.reused_tokens == 200
    assert again.token_ids == fresh.token_ids


def test_what_makes_room_is_parked_and_comes_back(start):
    engine = start(parallel=1, parked_tokens=1024)
    prompts = [some_ids(120, seed) for seed in range(6)]
    first = [engine.submit(ask(prompt, max_tokens=20, ignore_end=True)).result() for prompt in prompts]
    again = [engine.submit(ask(prompt, max_tokens=20, ignore_end=True)).result() for prompt in prompts]
    assert [answer.token_ids for answer in again] == [answer.token_ids for answer in first]
    assert [answer.finished.usage.reused_tokens for answer in again] == [119] * 6


def test_a_live_sequence_has_few_cells_of_others_beside_it(start):
    engine = start(parallel=1, context_tokens=2048, parked_tokens=2048)
    engine.submit(ask(some_ids(1500, 1), max_tokens=1)).result()
    talker = engine.submit(ask([PROMPT_ID], max_tokens=60, ignore_end=True))
    next(iter(talker))
    lane = next(iter(engine._scheduler._lanes))
    assert lane.cache.cells.used < 100
    talker.result()
    usage = engine.submit(ask(some_ids(1500, 1), max_tokens=1)).result().finished.usage
    assert usage.reused_tokens == 1499


def test_without_parking_least_recently_used_sequences_are_forgotten(start):
    engine = start(parallel=1, parked_tokens=0)
    for seed in range(5):
        engine.submit(ask(some_ids(120, seed), max_tokens=2)).result()
    reused = [
        engine.submit(ask(some_ids(120, seed), max_tokens=2)).result().finished.usage.reused_tokens
        for seed in (4, 3, 0)
    ]
    assert reused == [119, 119, 0]


def test_cancelling_one_leaves_the_ids_of_the_others(start):
    engine = start(parallel=4)
    requests = [ask(some_ids(60, seed), max_tokens=120, ignore_end=True) for seed in range(4)]
    generations = [engine.submit(request) for request in requests]
    next(iter(generations[1]))
    generations[1].cancel()
    answers = [generation.result() for generation in generations]
    assert answers[1].finished.reason == "cancelled"
    alone = start()
    for number in (0, 2, 3):
        assert answers[number].token_ids == alone.submit(requests[number]).result().token_ids


def test_a_long_prompt_does_not_stop_who_generates(start):
    engine = start(parallel=2, context_tokens=2048)
    talker = engine.submit(ask([PROMPT_ID], max_tokens=1500, ignore_end=True))
    next(iter(talker))
    reader = engine.submit(ask(some_ids(1900, 1), max_tokens=1))
    during = threading.Event()
    tokens = 0
    waiter = threading.Thread(target=lambda: (reader.result(), during.set()))
    waiter.start()
    for event in talker:
        if during.is_set():
            break
        tokens += len(event.token_ids) if isinstance(event, Text) else 0
    talker.cancel()
    waiter.join()
    assert tokens >= 1900 // 512  # at least one for each piece of the prompt


def test_higher_priority_leaves_the_line_first(start):
    engine = start(parallel=1)
    order = []
    first = engine.submit(ask([PROMPT_ID], max_tokens=300, ignore_end=True))
    next(iter(first))
    waiting = {
        priority: engine.submit(ask(some_ids(9, priority), max_tokens=1, priority=priority))
        for priority in (0, 5, 1)
    }
    threads = [
        threading.Thread(target=lambda p=priority, g=generation: order.append((g.result().finished, p)))
        for priority, generation in waiting.items()
    ]
    for thread in threads:
        thread.start()
    first.result()
    for thread in threads:
        thread.join()
    queued = {priority: finished.timings.queued_seconds for finished, priority in order}
    assert queued[5] < queued[1] < queued[0]


def test_who_comes_when_the_line_is_full_is_refused(start):
    engine = start(parallel=1, queue_limit=2)
    running = engine.submit(ask([PROMPT_ID], max_tokens=400, ignore_end=True))
    next(iter(running))
    waiting = [engine.submit(ask([PROMPT_ID], max_tokens=1)) for _ in range(2)]
    with pytest.raises(EngineBusyError) as caught:
        engine.submit(ask([PROMPT_ID])).result()
    assert (caught.value.running, caught.value.waiting) == (1, 2)
    running.cancel()
    assert [usage.generated_tokens for usage in usages(waiting)] == [1, 1]


@pytest.fixture
def scheduler(model_file, native_library):
    schedulers = []

    def start(**settings):
        model = LoadedModel(model_file, LoadSettings(**{"context_tokens": 512, "threads": 1} | settings))
        schedulers.append(Scheduler(model))
        return schedulers[-1]

    yield start
    for each in schedulers:
        each.close()


def pieces(scheduler, request):
    """Return up to where the prompt was evaluated after each step."""
    ends, generation = [], Generation(cancel=lambda: None)
    scheduler.submit(Job(request, generation.put, lambda done, _all: ends.append(done)))
    generation.result()
    return ends


def test_a_prompt_with_a_seed_is_cut_the_same_way_whatever_ran_before(scheduler):
    one = scheduler()
    request = ask(some_ids(100, 1), sampling=SamplingSettings(seed=1), max_tokens=1)
    first = pieces(one, request)
    assert first == [16, 32, 48, 64, 80, 96, 100]
    assert pieces(one, request) == first


def test_a_model_too_slow_for_the_step_limit_still_reads_prompts_in_pieces(scheduler):
    slow = scheduler(step_seconds=1e-6, parallel=2)
    assert pieces(slow, ask(some_ids(40, 1), max_tokens=1)) == [16, 32, 40]
    talker = Generation(cancel=lambda: None)
    job = Job(ask([PROMPT_ID], max_tokens=200, ignore_end=True), talker.put, lambda _done, _all: None)
    slow.submit(job)
    next(iter(talker))
    assert pieces(slow, ask(some_ids(14, 2), max_tokens=1)) == [4, 8, 12, 14]  # who generates waits less
    job.cancelled.set()
    talker.result()


def test_many_sequences_fit_into_a_small_context(start):
    engine = start(context_tokens=16, cache_tokens=16, parallel=32)
    generations = [engine.submit(ask([5, seed, 7], max_tokens=6, ignore_end=True)) for seed in range(32)]
    assert [usage.generated_tokens for usage in usages(generations)] == [6] * 32


def test_a_time_limit_ends_with_what_came(start):
    completion = start().submit(ask([PROMPT_ID], max_tokens=None, ignore_end=True, max_seconds=0.02)).result()
    assert completion.finished.reason == "time"


def test_a_full_context_drops_the_oldest_turns_and_says_so(start):
    engine = start(context_tokens=256)
    system, turns = some_ids(20, 0), [some_ids(60, seed) for seed in (1, 2, 3)]
    request = Request(
        segments=tuple(TokenSegment(tuple(ids)) for ids in (system, *turns)),
        sampling=GREEDY,
        max_tokens=110,
        ignore_end=True,
        turn_starts=(1, 2, 3),
    )
    events = list(engine.submit(request))
    assert [event for event in events if isinstance(event, ContextShifted)] == [
        ContextShifted(turns=1, tokens=60)
    ]
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.generated_tokens == 110
    assert events[-1].usage.prompt_tokens == 200


def test_turns_of_a_prompt_that_is_too_long_are_dropped_before_it_is_evaluated(start):
    system, turns = some_ids(20, 0), [some_ids(100, seed) for seed in (1, 2, 3)]
    request = Request(
        segments=tuple(TokenSegment(tuple(ids)) for ids in (system, *turns)),
        sampling=GREEDY,
        max_tokens=20,
        ignore_end=True,
        turn_starts=(1, 2, 3),
    )
    shortened = ask([*system, *turns[1], *turns[2]], max_tokens=20, ignore_end=True)
    engine = start(context_tokens=256)
    events = list(engine.submit(request))
    assert events[0] == ContextShifted(turns=1, tokens=100)
    ids = itertools.chain.from_iterable(event.token_ids for event in events if isinstance(event, Text))
    assert tuple(ids) == start(context_tokens=256).submit(shortened).result().token_ids


@pytest.mark.parametrize("starts", [(1, 1), (2, 1), (5,), (-1,)])
def test_turns_that_begin_nowhere_are_refused(starts):
    with pytest.raises(InvalidSettingError, match="turn_starts"):
        Request(segments=(TokenSegment((1,)),) * 3, sampling=GREEDY, turn_starts=starts)
