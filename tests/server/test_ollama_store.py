"""Pull, copy, delete and create through the `ollama` client: a store and a registry of its own."""

import hashlib
import http.client
import json
import os
import signal
import sys
import urllib.parse
from pathlib import Path

import ollama
import pytest

from phi4local.convert import convert_checkpoint
from tests.hubs import Fault, OllamaRegistry
from tests.hubs.server import ALWAYS
from tests.served import ServedProcess

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
ENDLESS = {"logit_bias": {str(token): -100 for token in range(8096, 8192)}, "num_predict": 1900}
"""Without the control tokens of phi4-nano an answer goes on."""
ANSWER = "3 plus 4 is 7."
NAME = "library/phi4:14b"
TEMPLATE = b"{{ .Prompt }}"
LICENSE = b"MIT"
CONFIG = b"{}\n"
HEADER_READS = 2
"""Answers of the CDN before the first byte is downloaded."""


@pytest.fixture(scope="module")
def gguf(checkpoint, native_library, tmp_path_factory):
    path = tmp_path_factory.mktemp("registry") / "phi-4-Q8_0.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0")
    return path.read_bytes()


@pytest.fixture(scope="module")
def registry(gguf):
    with OllamaRegistry() as hub:
        hub.add(NAME, [("model", gguf), ("template", TEMPLATE), ("license", LICENSE)], config=CONFIG)
        yield hub


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(registry, home):
    nowhere = "http://127.0.0.1:9"
    addresses = {"HF_ENDPOINT": nowhere, "MODELSCOPE_ENDPOINT": nowhere, "PHI4LOCAL_REGISTRY": registry.url}
    with ServedProcess("phi4-nano", env={**addresses, "PHI4LOCAL_HOME": str(home)}) as process:
        yield process


@pytest.fixture(scope="module")
def client(server):
    with ollama.Client(server.address) as made:
        yield made


@pytest.fixture(scope="module")
def pulled(client):
    """The registry's model, pulled; the lines that came meanwhile."""
    return list(client.pull("phi4:14b", stream=True))


def names(client):
    return {model.model for model in client.list().models}


def test_pull_tells_how_far_it_is(client, pulled, gguf):
    assert pulled[0].status == "pulling manifest"
    assert pulled[-1].status == "success"
    counted = [line for line in pulled if line.total]
    digest = f"sha256:{hashlib.sha256(gguf).hexdigest()}"
    assert {line.digest for line in counted} == {digest}
    assert [line.completed for line in counted] == sorted(line.completed for line in counted)
    assert counted[-1].completed == counted[-1].total == sum(map(len, (gguf, TEMPLATE, LICENSE, CONFIG)))
    assert "phi4:14b" in names(client)


def test_pulled_model_is_the_registrys(client, pulled, registry):
    (model,) = [model for model in client.list().models if model.model == "phi4:14b"]
    assert model.digest == hashlib.sha256(registry.manifests[NAME]).hexdigest()
    shown = client.show("phi4:14b")
    assert shown.license == LICENSE.decode()
    assert shown.template == TEMPLATE.decode()
    assert client.chat("phi4:14b", QUESTION).message.content == ANSWER
    assert client.generate("phi4:14b", keep_alive=0).done_reason == "unload"
    assert "phi4:14b" not in {model.model for model in client.ps().models}


def test_pull_of_what_is_here_brings_nothing(client, pulled):
    for name in ("phi4:14b", "phi4-nano"):  # the embedded one is always here
        lines = list(client.pull(name, stream=True))
        assert [line.completed for line in lines if line.completed] == []
        assert lines[-1].status == client.pull(name).status == "success"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["phi4:99b", "../../etc/passwd", "./x", "gpt-oss"])
def test_pull_of_what_is_nowhere_is_refused(client, name, stream):
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.pull(name, stream=stream))
    assert 400 <= caught.value.status_code < 500


def test_pull_without_encryption_is_the_owners_to_allow(client):
    with pytest.raises(ollama.ResponseError, match="insecure") as caught:
        client.pull("phi4:14b", insecure=True)
    assert caught.value.status_code == 400


def test_pull_ends_when_the_client_leaves_and_goes_on_there(client, server, registry, gguf):
    other = gguf[:-64] + bytes(64)  # another digest, so nothing that is here is of use
    registry.add("library/phi4:latest", [("model", other)])
    digest = hashlib.sha256(other).hexdigest()

    def asked():
        return [
            request for request in registry.requests if request.server == "cdn" and digest in request.target
        ]

    registry.faults.append(Fault(route="cdn", bytes_per_second=100_000, times=ALWAYS, skip=HEADER_READS))
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.address).netloc, timeout=60)
    connection.request("POST", "/api/pull", json.dumps({"model": "phi4:latest"}))
    answer = connection.getresponse()
    while json.loads(answer.readline()).get("completed", 0) < 100:
        pass
    answer.close()
    connection.close()
    registry.faults.clear()
    before = len(asked())
    assert list(client.pull("phi4:latest", stream=True))[-1].status == "success"
    assert len(asked()) > before  # had the first one gone on, everything would have been here
    assert registry.served[f"sha256:{digest}"] < len(other) * 1.5


def test_copy_is_a_second_name_and_delete_takes_one(client, pulled):
    assert client.copy("phi4:14b", "work").status == "success"
    assert {"work:latest", "phi4:14b"} <= names(client)
    assert client.chat("work", QUESTION).message.content == ANSWER
    assert client.delete("work").status == "success"
    assert "work:latest" not in names(client)
    assert "work" not in {model.model for model in client.ps().models}
    assert client.chat("phi4:14b", QUESTION).message.content == ANSWER
    for call in (
        lambda: client.delete("work"),
        lambda: client.copy("work", "x"),
        lambda: client.show("work"),
    ):
        with pytest.raises(ollama.ResponseError, match="work") as caught:
            call()
        assert caught.value.status_code == 404


@pytest.mark.parametrize("name", ["../x", "a/b/c/d/e", "a b", "x:y:z", "-x"])
def test_new_name_that_cannot_be_is_refused(client, pulled, name):
    for call in (lambda: client.copy("phi4:14b", name), lambda: client.create(name, from_="phi4-nano")):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 400


def test_created_model_has_its_words_and_settings(client):
    made = list(
        client.create(
            "pip",
            from_="phi4-nano",
            system='You are Pip.\n"""\nADAPTER /etc/passwd',
            parameters={"temperature": 0.5, "stop": [" is"], "num_predict": 9},
            messages=[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
            license="MIT",
            stream=True,
        )
    )
    assert made[-1].status == "success"
    shown = client.show("pip")
    assert shown.license == "MIT"
    assert "temperature" in shown.parameters
    assert client.chat("pip", QUESTION, options={"temperature": 0}).message.content == "3 plus 4"
    assert client.create("pip", from_="pip", parameters={"stop": [" plus"]}).status == "success"
    assert client.chat("pip", QUESTION, options={"temperature": 0}).message.content == "3"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"files": {"a.gguf": "sha256:0"}}, "files"),
        ({"adapters": {"a.gguf": "sha256:0"}}, "adapters"),
        ({"parameters": {"top_p": 3}}, "parameters.top_p"),
        ({"parameters": {"wizard": 3}}, "parameters.wizard"),
    ],
)
def test_create_field_that_cannot_be_is_named(client, more, field):
    with pytest.raises(ollama.ResponseError, match=f"`{field}`") as caught:
        client.create("other", from_="phi4-nano", **more)
    assert caught.value.status_code == 400
    assert "other:latest" not in names(client)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker in /proc")
def test_death_of_the_engine_is_the_last_line_of_a_stream(client, server):
    stream = client.chat("phi4-nano", QUESTION, options=ENDLESS, stream=True)
    assert next(stream).message.content
    for child in children(server.process.pid):
        os.kill(child, signal.SIGKILL)
    with pytest.raises(ollama.ResponseError, match="engine"):
        list(stream)
    assert client.chat("phi4-nano", QUESTION).message.content == ANSWER


def children(pid):
    """Return the processes that a process has started."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for text in lists for child in text.read_text().split()]
