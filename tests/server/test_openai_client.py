"""The official `openai` client against a real server: what it answers is what the model answers."""

import openai
import pytest

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
STORY = [{"role": "system", "content": "You are kind."}, {"role": "user", "content": "Tell me a story."}]


@pytest.fixture(scope="module")
def client(served):
    with openai.OpenAI(base_url=f"{served.address}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.mark.parametrize("messages", [QUESTION, STORY])
@pytest.mark.parametrize("sampling", [{"temperature": 0, "seed": 1}, {"temperature": 0.9, "seed": 7}])
def test_answer_is_the_models_own(client, nano, messages, sampling):
    expected = nano.chat(messages, max_tokens=60, **sampling).result()
    got = client.chat.completions.create(model="phi4-nano", messages=messages, max_tokens=60, **sampling)
    assert got.choices[0].message.content == expected.text
    assert got.choices[0].finish_reason == expected.finished.reason
    assert got.usage.prompt_tokens == expected.finished.usage.prompt_tokens
    assert got.usage.completion_tokens == expected.finished.usage.generated_tokens


def test_streamed_answer_is_the_models_own(client, nano):
    expected = nano.chat(STORY, max_tokens=60, temperature=0, seed=1).result()
    chunks = list(
        client.chat.completions.create(
            model="phi4-nano",
            messages=STORY,
            max_completion_tokens=60,
            temperature=0,
            seed=1,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    told = [chunk for chunk in chunks if chunk.choices]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in told) == expected.text
    assert told[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in told if chunk.choices[0].finish_reason] == ["length"]
    assert chunks[-1].usage.completion_tokens == 60


def test_model_that_is_not_here_is_not_found(client):
    with pytest.raises(openai.NotFoundError, match="gpt-4o"):
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4o", messages=QUESTION, stream=True)
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4o")


@pytest.mark.parametrize("name", ["./models/phi4-nano", "/etc/passwd", "http://127.0.0.1:1/v1", "~/x.gguf"])
def test_client_cannot_open_files_or_addresses(client, name):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=name, messages=QUESTION)


def test_models_are_listed(client):
    assert "phi4-nano" in [model.id for model in client.models.list()]
    assert client.models.retrieve("phi4-nano").id == "phi4-nano"
