"""A generation is iterable, awaitable and cancellable."""

import asyncio
import threading

import pytest

from phi4local.engine import Finished, Generation, Text, Timings, Usage
from phi4local.errors import EngineError

END = Finished(
    reason="stop",
    usage=Usage(prompt_tokens=10, reused_tokens=4, generated_tokens=3),
    timings=Timings(prompt_seconds=0.5, generation_seconds=0.25),
)


def generation(*events, cancel=lambda: None) -> Generation:
    made = Generation(cancel=cancel)
    for event in events:
        made.put(event)
    return made


def test_the_result_adds_up_the_events():
    completion = generation(Text("a", (1,)), Text("b", (2, 3)), END).result()
    assert (completion.text, completion.token_ids, completion.finished) == ("ab", (1, 2, 3), END)


def test_rates_count_what_was_evaluated_and_what_was_timed():
    assert END.prompt_tokens_per_second == 12
    assert END.tokens_per_second == 8


def test_an_error_is_raised_where_the_events_are_read():
    with pytest.raises(EngineError, match="boom"):
        list(generation(Text("a", (1,)), EngineError("boom")))


def test_async_iteration_gives_the_same_events():
    async def collect():
        return [event async for event in generation(Text("a", (1,)), END)]

    assert asyncio.run(collect()) == [Text("a", (1,)), END]


def test_leaving_the_block_cancels_only_what_still_runs():
    calls = []
    with generation(Text("a", (1,)), cancel=lambda: calls.append(1)):
        pass
    with generation(END, cancel=lambda: calls.append(2)) as running:
        list(running)
    assert calls == [1]


def test_the_result_is_whole_whatever_was_read_before():
    running = generation(Text("a", (1,)), Text("b", (2,)), END)
    next(iter(running))
    assert running.result().text == running.text == "ab"
    assert running.result().token_ids == (1, 2)


def test_an_error_stays_for_whoever_asks_again():
    running = generation(Text("a", (1,)), EngineError("boom"))
    for _ in range(2):
        with pytest.raises(EngineError, match="boom"):
            running.result()


def test_leaving_the_texts_cancels_the_rest():
    calls = []
    texts = generation(
        Text("a", (1,)), Text("", (2,)), Text("b", (3,)), cancel=lambda: calls.append(1)
    ).texts()
    assert next(texts) == "a"
    assert calls == []
    texts.close()
    assert calls == [1]
    assert list(generation(Text("a", (1,)), Text("", (2,)), END).texts()) == ["a"]


def test_events_from_a_thread_reach_a_task_that_waits_already():
    async def read():
        running = generation()
        waiting = asyncio.create_task(running.aresult())
        await asyncio.sleep(0)  # it runs until it waits for the first event
        thread = threading.Thread(target=lambda: [running.put(e) for e in (Text("a", (1,)), END)])
        thread.start()
        completion = await waiting
        thread.join()
        return completion

    assert asyncio.run(read()).text == "a"


def test_many_tasks_wait_without_a_thread_each():
    async def read():
        before = threading.active_count()
        generations = [generation() for _ in range(200)]
        tasks = [asyncio.create_task(running.aresult()) for running in generations]
        await asyncio.sleep(0)
        assert threading.active_count() == before
        for running in reversed(generations):
            running.put(END)
        return await asyncio.gather(*tasks)

    assert len(asyncio.run(read())) == 200


def test_a_task_that_waits_hears_of_the_engine_s_death():
    async def read():
        running = Generation(cancel=lambda: None)
        death = threading.Thread(target=running.put, args=(EngineError("hung"),))
        asyncio.get_running_loop().call_soon(death.start)
        await running.aresult()

    with pytest.raises(EngineError, match="hung"):
        asyncio.run(read())


def test_an_answer_that_nobody_reads_is_cancelled(monkeypatch):
    monkeypatch.setattr("phi4local.engine.generation.MAX_UNREAD_EVENTS", 3)
    calls = []
    unread = Generation(cancel=lambda: calls.append(1))
    for _ in range(3):
        unread.put(Text("a", (1,)))
    assert calls == []
    unread.put(Text("a", (1,)))
    assert calls == [1]
    unread.put(END)
    assert unread.text == "aaaa"


def test_cancelling_the_task_cancels_the_generation():
    calls = []

    async def read():
        waiting = asyncio.create_task(generation(Text("a", (1,)), cancel=lambda: calls.append(1)).aresult())
        await asyncio.sleep(0)
        waiting.cancel()
        await waiting

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(read())
    assert calls == [1]
