"""A generation is iterable, awaitable and cancellable."""

import asyncio

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
