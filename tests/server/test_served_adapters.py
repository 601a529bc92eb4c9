"""Adapters as model names: one model in memory serves them all, in every dialect."""

import httpx
import openai
import pytest

import phi4local
from phi4local.runtime.adapters import keep_adapter
from tests.contract.test_adapters import weights_of
from tests.lora_adapters import random_deltas, write_adapter
from tests.random_checkpoint import NANO
from tests.served import ServedProcess

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a store with two adapters of phi4-nano's shape."""
    home = tmp_path_factory.mktemp("adapters")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHI4LOCAL_HOME", str(home))
        weights = weights_of(NANO)
        for seed, name in enumerate(("lora", "other")):
            path = write_adapter(home / f"{name}.gguf", random_deltas(weights, seed=seed, size=0.15))
            keep_adapter(path, name, base="phi4-nano")
    return home


@pytest.fixture(scope="module")
def server(home, native_library):
    with ServedProcess("phi4-nano", env={"PHI4LOCAL_HOME": str(home)}) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="module")
def expected(home):
    """What the Python interface says with each strength."""
    files = {name: home / "adapters" / name / "adapter.gguf" for name in ("lora", "other")}
    with phi4local.load("phi4-nano", adapters=files) as model:
        strengths = [{}, {"lora": 1.0}, {"lora": 0.25}, {"lora": 0.5, "other": 1.0}]
        return [model.adapted(**one).chat(QUESTION, max_tokens=24, temperature=0).text for one in strengths]


NAMES = ("phi4-nano", "phi4-nano+lora", "phi4-nano+lora:0.25", "phi4-nano:Q8_0+lora:0.5+other")


def test_answers_are_the_engines_own_in_every_dialect(server, expected):
    client = openai.OpenAI(base_url=f"{server.address}/v1", api_key="none")
    assert len(set(expected)) == 4
    for name, text in zip(NAMES, expected, strict=True):
        options = {"max_tokens": 24, "temperature": 0}
        answer = client.chat.completions.create(model=name, messages=QUESTION, **options)
        assert (answer.choices[0].message.content, answer.model) == (text, name)
        ollama = {"model": name, "messages": QUESTION, "stream": False}
        body = httpx.post(
            f"{server.address}/api/chat",
            json=ollama | {"options": {"num_predict": 24, "temperature": 0}},
            timeout=60,
        ).json()
        assert body["message"]["content"] == text
        body = httpx.post(
            f"{server.address}/v1/messages", json={"model": name, "messages": QUESTION, **options}, timeout=60
        ).json()
        assert body["content"][0]["text"] == text
    loaded = httpx.get(f"{server.address}/api/ps").json()["models"]
    assert len(loaded) == 1  # whatever it was called, and with whatever adapters


def test_they_are_listed_and_others_are_unknown(server):
    client = openai.OpenAI(base_url=f"{server.address}/v1", api_key="none")
    names = {one.id for one in client.models.list()}
    assert {"phi4-nano", "phi4-nano+lora", "phi4-nano+other"} <= names
    assert client.models.retrieve("phi4-nano+lora").id == "phi4-nano+lora"
    for name in ("phi4-nano+nobody", "phi4-nano+../lora", "phi4-nano+", "phi4-nano+lora:x"):
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=name, messages=QUESTION)
