"""The same behaviour from the engine in this process and from the one in a worker process."""

import asyncio
import json
import threading
import time

import numpy as np
import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Finished, Request, Text
from phi4local.engine.engine import Engine
from phi4local.engine.worker import EngineWorker
from phi4local.errors import ContextTooLongError, InvalidSettingError
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

GREEDY = SamplingSettings(temperature=0)


@pytest.fixture(scope="module")
def f32_file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("f32") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return path


@pytest.fixture(scope="module")
def expected(checkpoint):
    return json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"]


@pytest.fixture(scope="module", params=["in this process", "worker"])
def engine(request, f32_file, native_library):
    file = file_facts(gguf.validate(f32_file)).model_file()
    settings = LoadSettings(context_tokens=512, threads=1)
    if request.param == "worker":
        with EngineWorker() as worker:
            worker.load(file, settings)
            yield worker
    else:
        with Engine(file, settings) as engine:
            yield engine


def prompt(case) -> tuple[TokenSegment]:
    return (TokenSegment(tuple(case["prompt_ids"])),)


@pytest.mark.parametrize("number", range(10))
def test_greedy_ids_are_those_of_transformers(engine, expected, number):
    case = expected[number]
    completion = engine.submit(Request(segments=prompt(case), sampling=GREEDY, max_tokens=64)).result()
    assert list(completion.token_ids) == case["generated_ids"]
    assert completion.text == case["text"]
    assert completion.finished.reason == ("stop" if case["stopped"] else "length")


@pytest.mark.parametrize("number", range(10))
def test_template_text_and_content_give_the_ids_of_transformers(engine, expected, number):
    case = expected[number]
    rest, segments = case["prompt"], []
    for message in case["messages"]:
        before, content, rest = rest.partition(message["content"])
        segments += [TextSegment(before, special=True), TextSegment(content, special=False)]
    segments.append(TextSegment(rest, special=True))
    assert engine.tokenize(segments) == case["prompt_ids"]


def test_usage_and_reuse_are_exact(engine, expected):
    case = expected[0]
    request = Request(segments=prompt(case), sampling=GREEDY)
    engine.submit(request).result()
    usage = engine.submit(request).result().finished.usage
    assert usage.prompt_tokens == len(case["prompt_ids"])
    assert usage.reused_tokens == len(case["prompt_ids"]) - 1
    assert usage.generated_tokens == len(case["generated_ids"])


def test_typed_control_tokens_are_plain_text(engine):
    ids = engine.tokenize([TextSegment("<|im_end|><|im_start|>system<|im_sep|>", special=False)])
    assert all(token < 8096 for token in ids)
    assert engine.tokenize([TextSegment("<|im_end|>", special=True)]) == [8105]


def test_a_token_limit_ends_with_length(engine, expected):
    completion = engine.submit(Request(segments=prompt(expected[1]), sampling=GREEDY, max_tokens=5)).result()
    assert completion.finished.reason == "length"
    assert len(completion.token_ids) == 5


def test_a_stop_text_ends_the_answer_before_it(engine, expected):
    sampling = SamplingSettings(temperature=0, stop=("many colors",))
    completion = engine.submit(Request(segments=prompt(expected[2]), sampling=sampling)).result()
    assert completion.text == "Sunlight is made of "
    assert completion.finished.reason == "stop"


def test_a_full_context_ends_with_length(engine):
    request = Request(segments=(TokenSegment((8104,) * 500),), sampling=GREEDY, ignore_end=True)
    finished = engine.submit(request).result().finished
    assert finished.reason == "length"
    assert finished.usage.prompt_tokens + finished.usage.generated_tokens == 512


@pytest.mark.parametrize("length", [511, 512, 513, 600])
def test_a_prompt_that_leaves_no_room_is_refused_with_counts(engine, length):
    request = Request(segments=(TokenSegment((5,) * length),), sampling=GREEDY)
    if length < 512:
        assert engine.submit(request).result().finished.usage.generated_tokens == 1
        return
    with pytest.raises(ContextTooLongError) as caught:
        engine.submit(request).result()
    assert (caught.value.prompt_tokens, caught.value.context_tokens) == (length, 512)


def test_an_empty_prompt_is_refused(engine):
    with pytest.raises(InvalidSettingError, match="empty"):
        engine.submit(Request(segments=(), sampling=GREEDY)).result()


def test_cancelling_stops_at_the_next_step_and_the_next_request_is_served(engine, expected):
    request = Request(segments=prompt(expected[1]), sampling=GREEDY, ignore_end=True)
    generation = engine.submit(request)
    events = []
    for event in generation:
        events.append(event)
        generation.cancel()
    assert events[-1].reason == "cancelled"
    assert events[-1].usage.generated_tokens < 400
    case = expected[2]
    assert engine.submit(Request(segments=prompt(case), sampling=GREEDY)).result().text == case["text"]


def test_a_request_that_waits_can_be_cancelled(engine, expected):
    first = engine.submit(Request(segments=prompt(expected[1]), sampling=GREEDY, ignore_end=True))
    second = engine.submit(Request(segments=prompt(expected[2]), sampling=GREEDY))
    second.cancel()
    first.cancel()
    assert second.result().finished.reason == "cancelled"
    assert first.result().finished.reason == "cancelled"


def test_async_iteration_streams_the_same_text(engine, expected):
    case = expected[2]

    async def collect():
        generation = engine.submit(Request(segments=prompt(case), sampling=GREEDY))
        return [event async for event in generation]

    events = asyncio.run(collect())
    assert "".join(event.delta for event in events if isinstance(event, Text)) == case["text"]
    assert isinstance(events[-1], Finished)


def test_requests_from_many_threads_get_their_own_answers(engine, expected):
    answers = {}

    def ask(number):
        case = expected[number]
        answers[number] = engine.submit(
            Request(segments=prompt(case), sampling=GREEDY, max_tokens=64)
        ).result()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: answer.text for number, answer in answers.items()} == {
        number: expected[number]["text"] for number in range(10)
    }


def test_the_same_seed_repeats_an_answer_and_another_one_does_not(engine, expected):
    def text(seed):
        sampling = SamplingSettings(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=seed)
        return (
            engine.submit(Request(segments=prompt(expected[1]), sampling=sampling, max_tokens=40))
            .result()
            .text
        )

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) == 4


def test_a_repeat_penalty_changes_a_loop(engine, expected):
    loop = Request(segments=prompt(expected[3]), sampling=GREEDY, max_tokens=40, ignore_end=True)
    penalised = Request(
        segments=prompt(expected[3]),
        sampling=SamplingSettings(temperature=0, repeat_penalty=1.8, penalty_last_tokens=64),
        max_tokens=40,
        ignore_end=True,
    )
    plain, varied = engine.submit(loop).result(), engine.submit(penalised).result()
    assert len(set(varied.token_ids)) > len(set(plain.token_ids))


def test_logprobs_come_on_demand_one_for_each_token(engine, expected):
    case = expected[1]
    plain = engine.submit(Request(segments=prompt(case), sampling=GREEDY, max_tokens=12)).result()
    assert plain.logprobs is None
    sampling = SamplingSettings(temperature=0, logprobs=3)
    events = list(engine.submit(Request(segments=prompt(case), sampling=sampling, max_tokens=12)))
    tokens = [item.token for event in events[:-1] for item in event.logprobs]
    assert tokens == case["generated_ids"][:12] == [t for event in events[:-1] for t in event.token_ids]
    for item in (item for event in events[:-1] for item in event.logprobs):
        assert len(item.top) == 3
        assert item.top[0] == (item.token, item.logprob)  # greedy takes the best one
        assert 0 >= item.top[0][1] >= item.top[1][1] >= item.top[2][1]


def test_logprobs_of_the_first_token_are_those_of_transformers(engine, checkpoint):
    with np.load(checkpoint / "reference-logits.npz") as reference:
        ids, logits = reference["story_ids"].tolist(), reference["story_logits"].astype(np.float64)
    expected = logits - np.logaddexp.reduce(logits)
    sampling = SamplingSettings(temperature=0, logprobs=5)
    request = Request(segments=(TokenSegment(tuple(ids)),), sampling=sampling, max_tokens=1)
    (item,) = engine.submit(request).result().logprobs
    assert [token for token, _ in item.top] == np.argsort(-expected)[:5].tolist()
    assert [value for _, value in item.top] == pytest.approx(np.sort(expected)[::-1][:5], abs=0.03)


def test_penalties_see_the_prompt(engine, expected):
    case = expected[2]
    first = case["generated_ids"][0]
    repeated = (TokenSegment((first, *case["prompt_ids"])),)  # the answer's first token is in the prompt
    sampling = SamplingSettings(temperature=0, presence_penalty=100, penalty_last_tokens=512)
    plain = engine.submit(Request(segments=repeated, sampling=GREEDY, max_tokens=1)).result()
    penalised = engine.submit(Request(segments=repeated, sampling=sampling, max_tokens=1)).result()
    assert plain.token_ids == (first,)
    assert penalised.token_ids[0] not in {first, *case["prompt_ids"]}


def test_a_forbidden_token_does_not_appear(engine, expected):
    case = expected[2]
    first = case["generated_ids"][0]
    sampling = SamplingSettings(temperature=0, logit_bias={first: -100})
    completion = engine.submit(Request(segments=prompt(case), sampling=sampling, max_tokens=20)).result()
    assert first not in completion.token_ids


def test_timings_fit_into_the_time_that_passed(engine, expected):
    started = time.perf_counter()
    finished = (
        engine.submit(Request(segments=prompt(expected[1]), sampling=GREEDY, max_tokens=64)).result().finished
    )
    passed = time.perf_counter() - started
    assert 0 < finished.timings.prompt_seconds + finished.timings.generation_seconds <= passed


def test_closing_cancels_what_runs_and_what_waits(f32_file, native_library):
    engine = Engine(
        file_facts(gguf.validate(f32_file)).model_file(), LoadSettings(context_tokens=2048, threads=1)
    )
    request = Request(segments=(TokenSegment((8104, 292)),), sampling=GREEDY, ignore_end=True)
    running = [engine.submit(request) for _ in range(3)]
    next(iter(running[0]))
    engine.close()
    assert [generation.result().finished.reason for generation in running] == ["cancelled"] * 3


def test_text_that_cannot_fit_is_refused_before_it_is_tokenized(engine):
    huge = [TextSegment("a" * 2_000_000, special=False)]
    with pytest.raises(ContextTooLongError):
        engine.tokenize(huge)
    with pytest.raises(ContextTooLongError):
        engine.submit(Request(segments=tuple(huge), sampling=GREEDY)).result()
