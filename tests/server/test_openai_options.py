"""Every option of OpenAI's endpoints: done as the model does it, or refused by name."""

import base64
import json

import jsonschema
import numpy
import openai
import pytest

from phi4local.server.openai.strict import Sampling
from phi4local.settings import STRUCTURE_SETTINGS, SamplingSettings

EXACT = {"temperature": 0, "seed": 1}
"""A seed keeps what else is in the cache or in a batch from moving the last digits of a logit."""
QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
STORY = [{"role": "user", "content": "Tell me a story."}]


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.address}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def chat(client):
    def ask(messages=STORY, **options):
        return client.chat.completions.create(model="phi4-nano", messages=messages, **options)

    return ask


def test_several_answers_have_seeds_that_count_up(chat, nano):
    # Two tokens: further on, what else is in a batch may move a choice between two near words.
    who, hot = [{"role": "user", "content": "Hello! Who are you?"}], {"max_tokens": 2, "temperature": 1.5}
    expected = [nano.chat(who, seed=seed, **hot).text for seed in (4, 5, 6, 7)]
    assert len(set(expected)) > 1
    got = chat(who, n=4, seed=4, **hot)
    assert [choice.message.content for choice in got.choices] == expected
    assert got.usage.completion_tokens == 8
    assert got.usage.prompt_tokens == len(nano.tokenize(who))
    streamed = dict.fromkeys(range(4), "")
    for chunk in chat(who, n=4, seed=4, stream=True, **hot):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert list(streamed.values()) == expected


def test_repeated_prompt_comes_from_the_cache(chat):
    messages = [{"role": "user", "content": "Tell me about a lantern that nobody else asks for."}]
    first, second = (chat(messages, max_tokens=2).usage for _ in range(2))
    assert second.prompt_tokens_details.cached_tokens == first.prompt_tokens - 1


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_are_the_models(chat, nano, stream):
    expected = nano.chat(QUESTION, **EXACT, logprobs=3).result()
    got = chat(QUESTION, **EXACT, logprobs=True, top_logprobs=3, stream=stream)
    choices = [choice for chunk in got for choice in chunk.choices] if stream else got.choices
    entries = [entry for choice in choices if choice.logprobs for entry in choice.logprobs.content]
    assert "".join(entry.token for entry in entries) == expected.text
    assert b"".join(bytes(entry.bytes) for entry in entries).decode() == expected.text
    known = expected.logprobs[: len(entries)]
    assert [entry.logprob for entry in entries] == pytest.approx([item.logprob for item in known], abs=1e-4)
    tops = [[top.logprob for top in entry.top_logprobs] for entry in entries]
    assert tops == [pytest.approx([value for _, value in item.top], abs=1e-3) for item in known]


def test_stop_texts_end_the_answer(chat, nano):
    whole = nano.chat(QUESTION, **EXACT).text
    for stop in (" is", [" is", "nowhere"]):
        got = chat(QUESTION, **EXACT, stop=stop).choices[0]
        assert got.message.content == whole.partition(" is")[0]
        assert got.finish_reason == "stop"


def test_forbidden_token_never_comes(chat, nano):
    (seven,) = nano.tokenize("7")
    answer = chat(QUESTION, **EXACT, logit_bias={str(seven): -100}, max_tokens=20)
    assert "7" not in answer.choices[0].message.content
    assert "7" in nano.chat(QUESTION, **EXACT).text


def test_penalties_and_our_own_settings_reach_the_sampler(chat, nano):
    wanted = {"frequency_penalty": 1.5, "presence_penalty": 0.5, "temperature": 0.8, "seed": 3}
    own = {"top_k": 5, "min_p": 0.1, "repeat_penalty": 1.3}
    expected = nano.chat(STORY, max_tokens=30, **wanted, **own).text
    assert chat(max_tokens=30, **wanted, extra_body=own).choices[0].message.content == expected


def test_the_request_knows_every_sampling_setting():
    others = {"logprobs", *STRUCTURE_SETTINGS}
    assert {*Sampling.model_fields} | others == {*SamplingSettings.__dataclass_fields__}


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_told_from_the_answer(chat, stream):
    reply = {"grammar": 'root ::= "<think>\\nTwo and two.\\n</think>\\n\\nFour."'}
    got = chat(extra_body=reply, stream=stream)
    said = [choice.delta for chunk in got for choice in chunk.choices] if stream else [got.choices[0].message]
    assert "".join(part.content or "" for part in said) == "Four."
    assert "".join(getattr(part, "reasoning_content", None) or "" for part in said) == "Two and two."


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Pip", "Mia"]}, "kind": {"type": "boolean"}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("stream", [False, True])
def test_answer_follows_a_schema(chat, stream):
    form = {"type": "json_schema", "json_schema": {"name": "fox", "schema": SCHEMA, "strict": True}}
    got = chat(response_format=form, **EXACT, stream=stream)
    if stream:
        text = "".join(choice.delta.content or "" for chunk in got for choice in chunk.choices)
    else:
        text = got.choices[0].message.content
    jsonschema.validate(json.loads(text), SCHEMA)


def test_answer_is_a_json_object(chat):
    answer = chat(response_format={"type": "json_object"}, max_tokens=60, **EXACT).choices[0]
    assert answer.finish_reason == "length" or isinstance(json.loads(answer.message.content), dict)
    assert answer.message.content.lstrip().startswith("{")
    plain = chat(QUESTION, response_format={"type": "text"}, **EXACT).choices[0].message.content
    assert plain == "3 plus 4 is 7."


def test_parts_of_a_message_are_one_text(chat):
    parts = [{"type": "text", "text": "What is 3 "}, {"type": "text", "text": "plus 4?"}]
    assert chat([{"role": "user", "content": parts}], **EXACT).choices[0].message.content.endswith("7.")


def test_developer_is_the_system(chat, nano):
    turns = [{"role": "system", "content": "You are Pip."}, *STORY]
    expected = nano.chat(turns, **EXACT, max_tokens=20).text
    turns[0] = {"role": "developer", "content": "You are Pip."}
    assert chat(turns, **EXACT, max_tokens=20).choices[0].message.content == expected


def test_fields_without_effect_are_reported(client):
    raw = client.chat.completions.with_raw_response.create(
        model="phi4-nano",
        messages=[{"role": "user", "content": "Hi", "name": "ann"}],
        max_tokens=2,
        user="ann",
        reasoning_effort="low",
    )
    assert raw.headers["x-phi4local-ignored"] == "user, reasoning_effort, messages[0].name"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"temperature": -1}, "temperature"),
        ({"extra_body": {"temperature": "warm"}}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"stop": [""]}, "stop"),
        ({"extra_body": {"stream_options": {"include_usage": True}}}, "stream_options"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "no"}}}},
            "response_format.json_schema",
        ),
        ({"audio": {"voice": "ash", "format": "wav"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities[0]"),
        ({"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"store": True}, "store"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
        ),
        ({"extra_body": {"colour": "blue"}}, "colour"),
    ],
)
def test_what_cannot_be_is_refused_by_name(chat, options, field):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(**{"messages": QUESTION, **options})
    assert caught.value.param == field


def test_prompt_that_is_too_long_is_refused(chat):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=r"context holds 2,048") as caught:
            chat([{"role": "user", "content": "fox " * 3000}], stream=stream)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")


@pytest.mark.parametrize("stream", [False, True])
def test_completion_continues_each_prompt(client, nano, stream):
    prompts = ["Pip the fox was little and", "The sky is"]
    expected = [nano.generate(prompt, max_tokens=12, **EXACT).text for prompt in prompts]
    got = client.completions.create(
        model="phi4-nano", prompt=prompts, max_tokens=12, **EXACT, n=2, stream=stream
    )
    texts = dict.fromkeys(range(4), "")
    for chunk in got if stream else [got]:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert list(texts.values()) == [expected[0], expected[0], expected[1], expected[1]]
    if not stream:
        assert got.usage.prompt_tokens == sum(len(nano.tokenize(prompt)) for prompt in prompts)


def test_completion_of_token_ids_and_with_an_echo(client, nano):
    prompt = "Pip the fox was little and"
    expected = prompt + nano.generate(prompt, max_tokens=12, **EXACT).text
    for given in (prompt, nano.tokenize(prompt)):
        whole = client.completions.create(model="phi4-nano", prompt=given, max_tokens=12, **EXACT, echo=True)
        chunks = client.completions.create(
            model="phi4-nano", prompt=given, max_tokens=12, **EXACT, echo=True, stream=True
        )
        assert whole.choices[0].text == expected
        assert "".join(chunk.choices[0].text for chunk in chunks) == expected


def test_completion_has_logprobs_in_the_old_shape(client, nano):
    prompt = "Pip the fox was little and"
    expected = nano.generate(prompt, max_tokens=3, **EXACT, logprobs=2).result()
    got = client.completions.create(
        model="phi4-nano", prompt=prompt, max_tokens=3, **EXACT, logprobs=2
    ).choices[0]
    count = len(got.logprobs.tokens)
    assert got.text.startswith("".join(got.logprobs.tokens))
    known = [item.logprob for item in expected.logprobs[:count]]
    assert got.logprobs.token_logprobs == pytest.approx(known, abs=1e-4)
    offsets = [sum(map(len, got.logprobs.tokens[:place])) for place in range(count)]
    assert got.logprobs.text_offset == offsets
    assert [len(top) for top in got.logprobs.top_logprobs] == [2] * count


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [99999999]}, "tokens"),
        ({"prompt": [-1]}, "tokens"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": 1, "echo": True}, "echo"),
    ],
)
def test_completion_refuses_what_cannot_be(client, options, field):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(**{"model": "phi4-nano", "prompt": "x", **options})
    assert caught.value.param == field


def test_embeddings_are_the_models(client, nano):
    texts = ["the sky is blue", "two plus two"]
    expected = nano.embed(texts)
    floats = client.embeddings.create(model="phi4-nano", input=texts, encoding_format="float")
    packed = client.embeddings.with_raw_response.create(
        model="phi4-nano", input=texts, encoding_format="base64"
    )
    rows = [
        numpy.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in json.loads(packed.text)["data"]
    ]
    numpy.testing.assert_allclose(numpy.array([row.embedding for row in floats.data]), expected, atol=1e-6)
    numpy.testing.assert_allclose(numpy.array(rows), expected, atol=1e-6)
    ids = [nano.tokenize(text) for text in texts]
    by_ids = client.embeddings.create(model="phi4-nano", input=ids)
    numpy.testing.assert_allclose(numpy.array([row.embedding for row in by_ids.data]), expected, atol=1e-6)
    assert floats.usage.prompt_tokens == sum(map(len, ids))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": []}, "input"),
        ({"dimensions": 8}, "dimensions"),
        ({"extra_body": {"encoding_format": "hex"}}, "encoding_format"),
    ],
)
def test_embeddings_refuse_what_cannot_be(client, options, field):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(**{"model": "phi4-nano", "input": "x", **options})
    assert caught.value.param == field
