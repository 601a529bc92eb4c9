"""A model on a server answers like one that is loaded here: llama-cpp-python's server and llama-server."""

import asyncio
import collections
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import phi4local
from phi4local.assistant.conversation import Conversation
from phi4local.convert import convert_checkpoint
from phi4local.errors import EngineError, InvalidSettingError, RemoteError, UnknownModelError
from phi4local.runtime.remote.model import RemoteModel
from phi4local.settings import LoadSettings, SamplingSettings

KEY = "a-key-that-nobody-may-see"
ENDLESS = {"temperature": 3.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 1}
CHECKOUT = Path(__file__).parents[2]
FIND = "from benchmarks import build_peers; print(build_peers.find().program('llama-server'))"


@pytest.fixture(scope="module")
def f32_file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("f32") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return path


def llama_cpp_server(file):
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    options = {"model": file, "model_alias": "nano", "n_ctx": 512, "n_threads": 1, "embedding": "true"}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [
        sys.executable,
        "-m",
        "llama_cpp.server",
        *arguments,
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--api_key",
        KEY,
    ]


def llama_server(file):
    environment = {name: value for name, value in os.environ.items() if name != "PHI4LOCAL_CACHE"}
    found = subprocess.run(
        [sys.executable, "-c", FIND],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("python -m benchmarks.build_peers makes llama-server")
    arguments = ["--alias", "nano", "-c", "2048", "-t", "1", "--embeddings", "--pooling", "mean"]
    return [found.stdout.strip(), "-m", str(file), *arguments, "--port", "0", "--api-key", KEY]


@pytest.fixture(scope="module", params=[llama_cpp_server, llama_server], ids=lambda make: make.__name__)
def address(request, f32_file, native_library):
    """Start a server on a port that the system chooses, and read which one from what it prints."""
    process = subprocess.Popen(
        request.param(f32_file), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
    )
    try:
        said = b""
        for line in process.stdout:
            said += line
            if found := re.search(rb"(?:running|listening) on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail(f"the server ended: {said.decode('utf-8', 'replace')[-2000:]}")
        # A full pipe would stop the server.
        drain = threading.Thread(target=lambda: collections.deque(process.stdout, maxlen=0))
        drain.start()
        yield found[1].decode()
    finally:
        process.kill()
        process.wait()
    drain.join()
    process.stdout.close()


@pytest.fixture(scope="module")
def model(address):
    with phi4local.load(address, api_key=KEY) as model:
        yield model


@pytest.fixture(scope="module")
def cases(checkpoint):
    return json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"]


@pytest.mark.parametrize("number", [0, 2])
def test_answers_are_those_of_transformers(model, cases, number):
    case = cases[number]
    greedy = SamplingSettings(temperature=0, repeat_penalty=1.0)
    completion = model.chat(case["messages"], sampling=greedy, max_tokens=64).result()
    assert completion.text == case["text"]
    assert completion.finished.reason == ("stop" if case["stopped"] else "length")
    assert completion.finished.usage.generated_tokens > 0
    assert "".join(model.stream(case["messages"], sampling=greedy, max_tokens=64)) == case["text"]


def test_the_server_is_asked_which_model_it_has(model):
    assert isinstance(model, RemoteModel)
    assert model.name == "nano"


def test_a_text_is_continued_without_a_template(model):
    here = model.generate("One day a girl named", max_tokens=12, temperature=0)
    with phi4local.load("phi4-nano:F32", LoadSettings(threads=1)) as local:
        assert here.text == local.generate("One day a girl named", max_tokens=12, temperature=0).text


def test_stop_texts_and_limits_reach_the_server(model):
    assert model.chat("What is 3 plus 4?", temperature=0, stop="plus").text.strip() == "3"
    completion = model.chat("Why is the sky blue?", temperature=0, max_tokens=3).result()
    assert completion.finished.reason == "length"


def test_forms_for_asyncio(model):
    async def ask():
        whole = (await model.achat("What is 3 plus 4?", temperature=0)).text
        return whole, "".join([text async for text in model.astream("What is 3 plus 4?", temperature=0)])

    assert asyncio.run(ask()) == ("3 plus 4 is 7.", "3 plus 4 is 7.")


def test_vectors_are_the_mean_hidden_states_of_transformers(model):
    golden = json.loads((CHECKOUT / "tests" / "golden" / "python_api.json").read_text("utf-8"))["embeddings"]
    texts = list(golden)
    # One by one: llama-cpp-python 0.3.36 gives wrong vectors to all texts of a request but the first.
    vectors = np.concatenate([model.embed(text) for text in texts])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, np.array([golden[text] for text in texts]), atol=5e-3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_a_cancelled_answer_ends_and_the_next_one_comes(model):
    generation = model.chat("Tell me a long story.", **ENDLESS)
    next(iter(generation))
    generation.cancel()
    assert generation.result().finished.reason == "cancelled"
    assert model.chat("What is 3 plus 4?", temperature=0).text == "3 plus 4 is 7."


def test_a_conversation_keeps_its_turns(model, cases):
    case = next(case for case in cases if len(case["messages"]) > 1)
    system, *turns = case["messages"]
    conversation = Conversation(
        model, system=system["content"], sampling=SamplingSettings(temperature=0), max_tokens=64
    )
    for turn in turns[::2]:
        answer = "".join(getattr(event, "delta", "") for event in conversation.ask(turn["content"]))
    assert answer == case["text"]


def test_a_prompt_that_does_not_fit_is_an_error_of_the_server(model):
    with pytest.raises(RemoteError) as caught:
        model.chat("word " * 4000, max_tokens=5).result()
    assert caught.value.hint


def test_a_wrong_key_is_refused_and_not_shown(address):
    with pytest.raises(RemoteError, match="401") as caught:
        phi4local.load(address, api_key="another-key")
    assert caught.value.status == 401
    assert "PHI4LOCAL_API_KEY" in caught.value.hint
    assert "another-key" not in str(caught.value)


def test_the_key_comes_from_the_environment(address, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_API_KEY", KEY)
    assert (
        phi4local.load(f"{address}/v1#nano").chat("What is 3 plus 4?", temperature=0).text == "3 plus 4 is 7."
    )


def test_a_model_that_the_server_does_not_have_is_refused_with_its_models(address):
    with pytest.raises(UnknownModelError) as caught:
        phi4local.load(f"{address}#large", api_key=KEY)
    assert "nano" in caught.value.hint


def test_a_closed_model_is_closed(address):
    model = phi4local.load(address, api_key=KEY)
    running = model.chat("Tell me a long story.", **ENDLESS)
    next(iter(running))
    model.close()
    assert running.result().finished.reason == "cancelled"
    with pytest.raises(EngineError, match="closed"):
        model.chat("Hello")


def test_token_ids_are_not_to_be_had(model):
    with pytest.raises(RemoteError, match="token"):
        model.tokenize("Hello")
    with pytest.raises(InvalidSettingError, match="logprobs"):
        model.chat("Hello", logprobs=2)


def test_settings_for_loading_have_no_meaning_there(address):
    with pytest.raises(InvalidSettingError, match="context_tokens"):
        phi4local.load(address, LoadSettings(context_tokens=64), api_key=KEY)


def test_the_command_line_talks_to_a_server(address, run_cli):
    result = run_cli(
        ["run", address, "What is 3 plus 4?", "--temperature", "0"], env={"PHI4LOCAL_API_KEY": KEY}
    )
    assert (result.stdout, result.stderr, result.returncode) == ("3 plus 4 is 7.\n", "", 0)
    refused = run_cli(["run", address, "Hello"])
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: the server ")
    assert "hint: set PHI4LOCAL_API_KEY" in refused.stderr


def test_several_answers_of_a_server_are_complete(address, run_cli):
    words = ["run", address, "What is 3 plus 4?", "--temperature", "0", "--seed", "7", "-N", "3", "--json"]
    rows = json.loads(run_cli(words, env={"PHI4LOCAL_API_KEY": KEY}).stdout)
    assert [(row["seed"], row["finish_reason"], row["text"]) for row in rows] == [
        (seed, "stop", "3 plus 4 is 7.") for seed in (7, 8, 9)
    ]


def test_bench_measures_a_server_as_its_clients_see_it(run_cli, address):
    flags = ["-p", "48", "-n", "6", "-pg", "16,4", "-r", "2", "-o", "json"]
    done = run_cli(["bench", "--url", address, *flags], env={"PHI4LOCAL_API_KEY": KEY})
    assert done.returncode == 0, done.stderr
    assert all(line.startswith("note:") for line in done.stderr.splitlines())  # a busy machine
    rows = json.loads(done.stdout)
    assert [row["test"] for row in rows] == ["pp48", "tg6", "pp16+tg4"]
    for row in rows:
        assert (row["path"], row["model"], row["model_filename"]) == ("server", "nano", f"{address}/v1")
        assert len(row["samples_ns"]) == len(row["samples_first_token_ns"]) == 2
        assert min(row["samples_ns"]) > 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--raw"], ("raw", "leave it out")),
        (["-t", "2"], ("n_threads", "leave it out")),
        (["-d", "8"], ("n_depth", "-p 0")),
    ],
    ids=["raw", "threads", "depth"],
)
def test_bench_refuses_settings_of_a_server_before_asking_it(run_cli, flags, words):
    done = run_cli(["bench", "http://127.0.0.1:9", *flags])
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert words[0] in error
    assert words[1] in hint
