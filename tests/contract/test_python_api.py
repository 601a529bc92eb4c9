"""`phi4local.load(...)` from Python: forms that wait, forms that stream, forms for asyncio."""

import asyncio
import json

import pytest

import phi4local
from phi4local.engine import Finished, Text
from phi4local.errors import ContextTooLongError, EngineError, InvalidSettingError
from phi4local.settings import LoadSettings, SamplingSettings

ENDLESS = {"temperature": 3.0, "top_k": 0, "top_p": 1, "min_p": 0, "seed": 1}
"""Nearly every token is as likely as any other, the end too: one in four thousand."""


@pytest.fixture(scope="module")
def model(native_library):
    with phi4local.load("phi4-nano:F32", LoadSettings(threads=1)) as model:
        yield model


@pytest.fixture(scope="module")
def cases(checkpoint):
    """What transformers answers: messages, ids of the prompt and the answer."""
    return json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"]


@pytest.mark.parametrize("number", range(4))
def test_every_form_of_chat_gives_the_answer_of_transformers(model, cases, number):
    messages, text = cases[number]["messages"], cases[number]["text"]
    settings = SamplingSettings(temperature=0)

    async def asynchronous():
        streamed = [part async for part in model.astream(messages, max_tokens=64)]
        return (await model.achat(messages, max_tokens=64, sampling=settings)).text, "".join(streamed)

    assert model.chat(messages, max_tokens=64, temperature=0).text == text
    assert "".join(model.stream(messages, max_tokens=64)) == text
    assert asyncio.run(asynchronous()) == (text, text)


def test_a_text_alone_is_one_message_from_the_user(model):
    message = phi4local.Message("user", "What is 3 plus 4?")
    assert model.chat(message.content).text == model.chat([message]).text == "3 plus 4 is 7."


def test_names_win_over_prepared_settings(model):
    prepared = SamplingSettings(stop=("plus",), **ENDLESS)
    assert model.chat("What is 3 plus 4?", sampling=prepared, temperature=0).text == "3 "
    assert model.chat("What is 3 plus 4?", sampling=prepared, temperature=0, stop="4").text == "3 plus "


@pytest.mark.parametrize("form", ["chat", "stream", "generate"])
def test_an_option_that_does_not_exist_is_named(model, form):
    with pytest.raises(InvalidSettingError, match="temprature") as caught:
        getattr(model, form)("Hello", temprature=1)
    assert "temperature" in caught.value.hint


def test_generate_continues_the_text_as_it_stands(model):
    continued = model.generate("Pip the fox was little and", max_tokens=3).result()
    assert continued.finished.usage.prompt_tokens == len(model.tokenize("Pip the fox was little and"))
    assert asyncio.run(model.agenerate("Pip the fox was little and", max_tokens=3)).text == continued.text


@pytest.mark.parametrize("number", range(4))
def test_tokenize_gives_the_ids_of_transformers(model, cases, number):
    assert model.tokenize(cases[number]["messages"]) == cases[number]["prompt_ids"]


def test_tokenize_takes_control_tokens_in_a_text_for_text(model):
    assert len(model.tokenize("<|im_end|>")) > 1


def test_events_carry_the_counts(model):
    events = list(model.chat("What is 3 plus 4?"))
    assert "".join(event.delta for event in events if isinstance(event, Text)) == "3 plus 4 is 7."
    assert isinstance(events[-1], Finished)
    assert events[-1].usage.generated_tokens > 5


def test_several_answers_are_in_work_at_once(model, cases):
    async def ask():
        answers = [model.achat(case["messages"], max_tokens=64) for case in cases]
        return [answer.text for answer in await asyncio.gather(*answers)]

    assert asyncio.run(ask()) == [case["text"] for case in cases]


def test_cancelling_a_task_ends_its_answer(model, monkeypatch):
    started = []
    chat = model.chat
    monkeypatch.setattr(
        model, "chat", lambda *given, **options: started.append(chat(*given, **options)) or started[-1]
    )

    async def cancel_after_the_first_text():
        first = asyncio.Event()

        async def read():
            async for _ in model.astream("Tell me a long story.", **ENDLESS):
                first.set()

        task = asyncio.create_task(read())
        await first.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_after_the_first_text())
    assert started[0].result().finished.reason == "cancelled"
    assert model.chat("What is 3 plus 4?").text == "3 plus 4 is 7."


@pytest.mark.usefixtures("native_library")
def test_a_model_closes_at_the_end_of_an_async_block():
    async def use():
        async with phi4local.load("phi4-nano", LoadSettings(threads=1, context_tokens=64)) as model:
            await model.achat("Hello", max_tokens=1)
        return model

    with pytest.raises(EngineError, match="closed"):
        asyncio.run(use()).chat("Hello")


def test_an_error_comes_out_of_every_form(model):
    long = "word " * 3000

    async def asynchronous():
        return [text async for text in model.astream(long)]

    for ask in (
        lambda: model.chat(long).text,
        lambda: list(model.stream(long)),
        lambda: asyncio.run(model.achat(long)),
        lambda: asyncio.run(asynchronous()),
    ):
        with pytest.raises(ContextTooLongError) as caught:
            ask()
        assert caught.value.context_tokens == 2048
