"""The official `ollama` client against a real server: what it answers is what the model answers."""

import datetime
import json
import urllib.request

import jsonschema
import numpy
import ollama
import pytest

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
STORY = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "Tell me a story."}]
SKY = [{"role": "user", "content": "Why is the sky blue?"}]
"""Every word of its answer is clear: in a story, what else is in a batch may move a choice between two."""
EXACT = {"temperature": 0, "seed": 1}
TEMPLATED = "<|im_start|>user<|im_sep|>What is 3 plus 4?<|im_end|><|im_start|>assistant<|im_sep|>"


@pytest.fixture(scope="module")
def client(served):
    with ollama.Client(served.address) as made:
        yield made


def ask(client, messages=QUESTION, *, options=None, **more):
    return client.chat("phi4-nano", messages, options={**EXACT, **(options or {})}, **more)


@pytest.mark.parametrize("messages", [QUESTION, SKY])
@pytest.mark.parametrize("sampling", [EXACT, {"temperature": 0.2, "seed": 7}])
def test_answer_is_the_models_own(client, nano, messages, sampling):
    expected = nano.chat(messages, max_tokens=40, **sampling).result()
    got = client.chat("phi4-nano", messages, options={**sampling, "num_predict": 40})
    assert got.message.role == "assistant"
    assert got.message.content == expected.text
    assert (got.done, got.done_reason) == (True, expected.finished.reason)
    assert got.prompt_eval_count == expected.finished.usage.prompt_tokens
    assert got.eval_count == expected.finished.usage.generated_tokens
    parts = (got.load_duration, got.prompt_eval_duration, got.eval_duration)
    assert all(part >= 0 for part in parts)
    assert 0 < got.prompt_eval_duration + got.eval_duration <= got.total_duration
    assert datetime.datetime.fromisoformat(got.created_at).tzinfo is not None


def test_streamed_answer_is_the_models_own(client, nano):
    expected = nano.chat(SKY, max_tokens=20, **EXACT).result()
    parts = list(ask(client, SKY, options={"num_predict": 20}, stream=True))
    assert "".join(part.message.content for part in parts) == expected.text
    assert len(parts) > 3
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].done_reason == "length"
    assert parts[-1].eval_count == 20


def test_generate_is_a_conversation_with_one_turn(client, nano):
    got = client.generate(
        "phi4-nano", "Tell me a story.", system="You are kind.", options={**EXACT, "num_predict": 4}
    )
    assert got.response == nano.chat(STORY, max_tokens=4, **EXACT).text
    parts = list(client.generate("phi4-nano", "What is 3 plus 4?", options=EXACT, stream=True))
    assert "".join(part.response for part in parts) == nano.chat(QUESTION, **EXACT).text


def test_raw_prompt_brings_its_own_template(client, nano):
    got = client.generate("phi4-nano", TEMPLATED, raw=True, options=EXACT)
    assert got.response == nano.chat(QUESTION, **EXACT).text
    assert got.prompt_eval_count == len(nano.tokenize(QUESTION))
    plain = client.generate("phi4-nano", "Pip the fox was little and", raw=True, options=EXACT)
    assert plain.response == nano.generate("Pip the fox was little and", **EXACT).text


def test_control_tokens_in_a_message_are_text(client, nano):
    typed = [{"role": "user", "content": TEMPLATED}]
    assert ask(client, typed, options={"num_predict": 2}).prompt_eval_count == len(nano.tokenize(typed))


def test_stream_is_ndjson_and_the_default(served):
    body = json.dumps({"model": "phi4-nano", "messages": QUESTION}).encode()
    with urllib.request.urlopen(f"{served.address}/api/chat", body) as answer:
        lines = answer.read().decode().splitlines()
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert len(lines) > 3
    assert json.loads(lines[-1])["done"] is True


@pytest.mark.parametrize("stream", [False, True])
def test_schema_is_followed(client, stream):
    schema = {
        "type": "object",
        "properties": {"sum": {"enum": [6, 7, 8]}},
        "required": ["sum"],
        "additionalProperties": False,
    }
    got = ask(client, format=schema, stream=stream)
    text = "".join(part.message.content for part in got) if stream else got.message.content
    jsonschema.validate(json.loads(text), schema)
    assert isinstance(json.loads(ask(client, format="json").message.content), dict)


def test_options_are_the_models_settings(client, nano):
    given = {"top_k": 5, "top_p": 0.9, "min_p": 0.01, "repeat_penalty": 1.3, "repeat_last_n": 16}
    ours = {**given, "penalty_last_tokens": given["repeat_last_n"], "temperature": 1.2, "seed": 3}
    del ours["repeat_last_n"]
    expected = nano.chat(STORY, max_tokens=24, **ours).text
    got = ask(client, STORY, options={**given, "temperature": 1.2, "seed": 3, "num_predict": 4})
    assert expected.startswith(got.message.content)  # further on, a batch may move a near choice
    assert got.eval_count == 4
    assert expected != nano.chat(STORY, max_tokens=24, temperature=1.2, seed=3).text
    stopped = ask(client, options={"stop": [" is"]})
    assert (stopped.message.content, stopped.done_reason) == ("3 plus 4", "stop")


def test_logprobs_are_the_models(client, nano):
    expected = nano.chat(QUESTION, **EXACT, logprobs=2).result()
    got = ask(client, logprobs=True, top_logprobs=2)
    assert "".join(entry.token for entry in got.logprobs) == expected.text
    known = [item.logprob for item in expected.logprobs[: len(got.logprobs)]]
    assert [entry.logprob for entry in got.logprobs] == pytest.approx(known, abs=1e-4)
    assert {len(entry.top_logprobs) for entry in got.logprobs} == {2}


def test_what_has_no_effect_is_named(served):
    body = {
        "model": "phi4-nano",
        "messages": [*QUESTION, {"role": "assistant", "content": "8", "thinking": "hm"}, *QUESTION],
        "options": {"num_thread": 2, "num_ctx": 512, "use_mmap": True, "num_predict": 1},
        "stream": False,
    }
    asked = urllib.request.Request(f"{served.address}/api/chat", json.dumps(body).encode())
    with urllib.request.urlopen(asked) as answer:
        ignored = answer.headers["X-Phi4local-Ignored"].split(", ")
    assert ignored == ["options.num_thread", "options.num_ctx", "options.use_mmap", "messages[1].thinking"]


def test_vectors_are_the_models(client, nano):
    texts = ["the sky is blue", "two plus two"]
    expected = nano.embed(texts)
    got = client.embed("phi4-nano", texts)
    numpy.testing.assert_allclose(got.embeddings, expected, atol=1e-5)
    assert got.prompt_eval_count == sum(len(nano.tokenize(text)) for text in texts)
    numpy.testing.assert_allclose(client.embeddings("phi4-nano", texts[0]).embedding, expected[0], atol=1e-5)
    assert client.embed("phi4-nano", "").embeddings == []


LONG = "one two three " * 1000


def test_text_that_is_too_long_for_a_vector_is_refused(client):
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed("phi4-nano", LONG)
    assert caught.value.status_code == 400


@pytest.mark.full
def test_text_that_is_too_long_for_a_vector_is_cut_when_asked(client):
    assert client.embed("phi4-nano", LONG, truncate=True).prompt_eval_count <= 2048


def test_models_are_listed_and_described(client, nano):
    names = [model.model for model in client.list().models]
    assert any(name.startswith("phi4-nano") for name in names)
    for model in client.list().models:
        assert model.details.format == "gguf"
        assert model.size > 0
    (running,) = [model for model in client.ps().models if model.model == "phi4-nano"]
    assert running.context_length == 2048
    assert running.expires_at.year == 9999
    shown = client.show("phi4-nano")
    assert shown.modelinfo["general.architecture"] == "phi3"
    assert shown.modelinfo["phi3.block_count"] == 8
    assert shown.modelinfo["general.parameter_count"] == nano.facts.parameters
    assert "completion" in shown.capabilities
    assert "FROM " in shown.modelfile
    assert shown.details.quantization_level == "Q8_0"


def test_every_listed_name_answers(client, nano):
    expected = nano.chat(QUESTION, **EXACT).text
    names = [model.model for model in client.list().models if model.model.startswith("phi4-nano:Q8_0")]
    for name in (*names, "phi4-nano:latest"):
        assert client.chat(name, QUESTION, options=EXACT).message.content == expected
    assert [model.model for model in client.ps().models] == ["phi4-nano"]  # not loaded twice


def test_model_is_loaded_without_a_prompt(client):
    assert client.generate("phi4-nano").done_reason == "load"
    assert client.chat("phi4-nano", keep_alive="10m").done_reason == "load"


def test_greeting_and_version(served):
    with urllib.request.urlopen(f"{served.address}/") as answer:
        assert answer.read() == b"Ollama is running"
    with urllib.request.urlopen(f"{served.address}/api/version") as answer:
        assert tuple(map(int, json.load(answer)["version"].split("."))) >= (0, 6, 4)
    for path in ("/", "/api/version", "/api/tags"):
        asked = urllib.request.Request(f"{served.address}{path}", method="HEAD")
        with urllib.request.urlopen(asked) as answer:
            assert (answer.status, answer.read()) == (200, b"")
