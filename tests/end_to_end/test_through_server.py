"""`run` and `chat` let a running server answer that has the model in memory, and nobody sees a difference."""

import json
import os
import signal
import subprocess
import sys

import pytest

import phi4local
from phi4local.errors import ContextTooLongError, InvalidSettingError, RemoteError, UnknownModelError
from phi4local.messages import Message
from phi4local.runtime.adapters import keep_adapter
from phi4local.runtime.remote.own_model import OwnModel
from phi4local.runtime.remote.running import running_servers
from phi4local.runtime.remote.through import through_server
from phi4local.settings import LoadSettings
from tests.contract.test_adapters import weights_of
from tests.lora_adapters import random_deltas, write_adapter
from tests.random_checkpoint import NANO
from tests.served import ServedProcess

KEY = "a-key-for-others"
STORY = "Tell me a long story."
QUESTION = "What is 3 plus 4?"
ENDLESS = {"logit_bias": {str(token): -100 for token in range(8096, 8192)}}
SCHEMA = {"type": "object", "properties": {"a": {"enum": ["red", "blue"]}}, "required": ["a"]}
SETTINGS = (
    {"temperature": 0},
    {"temperature": 1.5, "seed": 7, "logprobs": 3},
    {"temperature": 1.2, "seed": 8, "top_k": 5, "repeat_penalty": 1.3, "penalty_last_tokens": 20},
    {"seed": 9, "json_schema": SCHEMA},
    {"seed": 10, "regex": "(one|two|three)( and four)?"},
    {"seed": 11, "grammar": 'root ::= "yes" | "no"'},
    {"temperature": 0, "stop": ("plus",)},
    {"seed": 12, "temperature": 1.0, "xtc_probability": 0.5, "dynamic_temperature_range": 0.4, "min_p": 0.0},
    {"seed": 13, "temperature": 2.0, "logit_bias": {919: 5.0}, "dry_multiplier": 0.8},
)


@pytest.fixture(scope="module")
def home(tmp_path_factory, native_library):
    """Keep a store of this module's own, with an adapter."""
    home = tmp_path_factory.mktemp("through")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHI4LOCAL_HOME", str(home))
        path = write_adapter(home / "lora.gguf", random_deltas(weights_of(NANO), size=0.15))
        keep_adapter(path, "lora", base="phi4-nano")
    return home


@pytest.fixture(scope="module")
def server(home):
    """A server that wants a key, which the commands of its owner do not need."""
    keys = home / "keys"
    keys.write_text(KEY, encoding="utf-8")
    keys.chmod(0o600)
    with ServedProcess("phi4-nano", "--api-key-file", keys, env={"PHI4LOCAL_HOME": str(home)}) as server:
        yield server
        assert server.stop() == 0


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(home))


@pytest.fixture
def there(server, at_home):
    with through_server("phi4-nano", LoadSettings(), {}) as model:
        assert isinstance(model, OwnModel)
        yield model


@pytest.fixture(scope="module")
def here(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PHI4LOCAL_HOME", str(home))
        file = {"lora": home / "adapters" / "lora" / "adapter.gguf"}
        with phi4local.load("phi4-nano", adapters=file) as model:
            yield model


@pytest.fixture
def command(home, run_cli):
    """Run a command that may use a server."""

    def run(*words, **env):
        return run_cli(words, env={"PHI4LOCAL_HOME": str(home), "PHI4LOCAL_SERVER": None, **env})

    return run


def known(completion):
    """Everything of an answer but the times, and what was in the cache."""
    end = completion.finished
    counts = (end.usage.prompt_tokens, end.usage.generated_tokens)
    return completion.text, completion.token_ids, completion.logprobs, end.reason, end.stop_text, counts


@pytest.mark.parametrize("sampling", SETTINGS, ids="-".join)
def test_every_setting_gives_the_answer_of_a_model_that_is_loaded_here(there, here, sampling):
    options = {"max_tokens": 24, **sampling}
    messages = [Message("system", "You are kind."), Message("user", QUESTION)]
    assert known(there.chat(messages, **options).result()) == known(here.chat(messages, **options).result())


def test_texts_tokens_vectors_and_adapters_are_those_of_the_model(there, here, at_home):
    options = {"max_tokens": 12, "seed": 1}
    text = "Pip the fox was little and"
    assert known(there.generate(text, **options).result()) == known(here.generate(text, **options).result())
    assert there.tokenize("Hello there") == here.tokenize("Hello there")
    turns = [Message("user", QUESTION), Message("assistant", "7"), Message("user", "Why?")]
    kept = {1: tuple(here.tokenize("7 ")[:1])}
    assert there.tokenize(turns) == here.tokenize(turns)
    assert there.count_tokens(turns, kept_ids=kept) == here.count_tokens(turns, kept_ids=kept)
    chat = [one.chat(turns, kept_ids=kept, **options).result() for one in (there, here)]
    assert known(chat[0]) == known(chat[1])
    assert abs(there.embed([text, QUESTION]) - here.embed([text, QUESTION])).max() < 1e-5
    assert (there.context_tokens, there.trained_context_tokens, there.thinking) == (2048, 2048, False)
    adapted = through_server("phi4-nano", LoadSettings(), {"lora": 0.5})
    expected = here.adapted(lora=0.5).chat(QUESTION, temperature=0, max_tokens=24).text
    assert adapted.chat(QUESTION, temperature=0, max_tokens=24).text == expected
    assert expected != here.chat(QUESTION, temperature=0, max_tokens=24).text


def test_a_second_turn_finds_the_first_in_the_cache_of_the_server(there):
    first = there.chat(QUESTION, temperature=0).result()
    turns = [Message("user", QUESTION), Message("assistant", first.text), Message("user", "Why?")]
    second = there.chat(turns, temperature=0, max_tokens=4, kept_ids={1: first.token_ids}).result()
    assert second.finished.usage.reused_tokens >= first.finished.usage.prompt_tokens - 1


def test_errors_are_those_of_a_model_that_is_loaded_here(there, here):
    for model in (there, here):
        with pytest.raises(ContextTooLongError) as caught:
            model.chat("word " * 3000).result()
        assert (caught.value.prompt_tokens, caught.value.context_tokens) == (3008, 2048)
        with pytest.raises(InvalidSettingError, match="regex"):
            model.chat(QUESTION, regex="(").result()


def test_a_cancelled_answer_ends_on_the_server_too(there):
    generation = there.chat(STORY, **ENDLESS)
    next(iter(generation))
    generation.cancel()
    end = generation.result().finished
    assert (end.reason, end.usage.generated_tokens > 0) == ("cancelled", True)
    while any(one.users for one in running_servers()[0].state.models):
        pass
    assert there.chat(QUESTION, temperature=0).text == "3 plus 4 is 7."


def test_run_says_who_answers_and_writes_the_same(command, server):
    words = f"run|phi4-nano|{STORY}|--seed|3|-N|2|-n|12|--adapter|lora:0.5|--temperature|2.5|--json".split(
        "|"
    )
    through, alone = command(*words), command(*words, "--no-server")
    assert through.stderr == f"using the server at {server.address}\n"
    assert alone.stderr == ""

    def without_times(rows):
        varying = ("seconds", "per_second", "reused_tokens")
        return [{name: row[name] for name in row if not name.endswith(varying)} for row in rows]

    assert without_times(json.loads(through.stdout)) == without_times(json.loads(alone.stdout))


@pytest.mark.parametrize(
    ("settings", "adapters", "keeps_state", "reason"),
    [
        ({"kv_type": "q8_0"}, {}, False, "has another `--kv`"),
        ({"threads": 7}, {}, False, "has another `--threads`"),
        ({"gpu_layers": 3}, {}, False, "has another `--gpu-layers`"),
        ({"draft_model": "phi4-nano"}, {}, False, "has another `--draft-model`"),
        ({"require_gpu": True}, {}, False, "has another `--require-gpu`"),
        ({}, {"/no/such/adapter.gguf": 1.0}, False, "does not have the adapter /no/such/adapter.gguf"),
        ({}, {}, True, "cannot do `--keep-state`"),
    ],
)
def test_what_a_server_cannot_do_is_said(server, at_home, settings, adapters, keeps_state, reason):
    found = through_server("phi4-nano", LoadSettings(**settings), adapters, keeps_state=keeps_state)
    assert found == f"the server at {server.address} {reason}"


def test_settings_that_the_server_has_too_and_other_models(server, at_home):
    like_it = LoadSettings(kv_type="f16", gpu_layers=0, context_tokens=4096, force=True)
    assert through_server("phi4-nano:Q8_0", like_it, {}).context_tokens == 2048
    small = through_server(None, LoadSettings(context_tokens=32), {})  # the default model
    assert small.context_tokens == 32
    end = small.chat(STORY, **ENDLESS).result().finished
    assert end.usage.prompt_tokens + end.usage.generated_tokens == 32
    with pytest.raises(ContextTooLongError):
        small.chat("word " * 40).result()
    assert through_server("phi4-nano:F16", LoadSettings(), {}) is None
    assert through_server("no-such-model", LoadSettings(), {}) is None


def test_a_server_that_is_named_is_asked(command, server, at_home, monkeypatch):
    ask = ("run", "phi4-nano", QUESTION, "--temperature", "0")
    named = command(*ask, "--server", server.address, PHI4LOCAL_API_KEY=KEY)
    assert (named.stdout, named.stderr, named.returncode) == ("3 plus 4 is 7.\n", "", 0)
    refused = command(*ask, PHI4LOCAL_SERVER=server.address, PHI4LOCAL_API_KEY=None)
    assert refused.returncode == 1
    assert "hint: set PHI4LOCAL_API_KEY" in refused.stderr
    off = command(*ask, PHI4LOCAL_SERVER="off")
    assert (off.stdout, off.stderr) == ("3 plus 4 is 7.\n", "")
    monkeypatch.setenv("PHI4LOCAL_API_KEY", KEY)
    with phi4local.load(f"{server.address}#phi4-nano+lora:0.5") as model:
        assert (model.name, model.adapters, model.served.path) == ("phi4-nano", {"lora": 0.5}, "")
    with pytest.raises(UnknownModelError):
        phi4local.load(f"{server.address}#phi4-nano+nobody")


def test_a_server_with_a_guard_is_asked_as_other_programs_do_and_only_when_it_is_named(
    home, here, monkeypatch, tmp_path
):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path))
    (tmp_path / "models").symlink_to(home / "models")
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'input = ["words"]\n[rules.words]\nkind = "words"\nwords = ["heron"]\n', encoding="utf-8"
    )
    with ServedProcess("phi4-nano", "--guard", policy) as guarded:
        found = through_server("phi4-nano", LoadSettings(), {})
        assert found == f"the server at {guarded.address} checks by a guard"
        with phi4local.load(guarded.address) as model:
            assert not isinstance(model, OwnModel)
            for sampling in SETTINGS[:5]:
                options = {"max_tokens": 24, **sampling}
                assert model.chat(QUESTION, **options).text == here.chat(QUESTION, **options).text
            with pytest.raises(RemoteError, match="guard"):
                model.chat("A heron.").result()
        assert guarded.stop() == 0


@pytest.fixture
def story(home):
    """`phi4local run` with an answer that has begun and does not end."""
    env = {**os.environ, "PHI4LOCAL_HOME": str(home)}
    env.pop("PHI4LOCAL_SERVER")
    begun = []

    def begin():
        words = ["run", "phi4-nano", STORY, "--sampling", f"logit_bias={json.dumps(ENDLESS['logit_bias'])}"]
        command = [sys.executable, "-m", "phi4local", *words]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env))
        assert begun[0].stdout.read(10)
        return begun[0]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_a_server_that_goes_is_an_error_of_run_and_costs_a_chat_one_turn(home, server, story):
    pytest.importorskip("pexpect", reason="pseudo-terminals are POSIX")
    pytest.importorskip("pyte")
    from tests.pseudo_terminal import Terminal

    env = {"PHI4LOCAL_SERVER": None}
    with ServedProcess("phi4-nano", env={"PHI4LOCAL_HOME": str(home)}) as dying:
        terminal = Terminal("chat", "phi4-nano", "--temperature", "0", home=home, columns=120, env=env)
        terminal.wait_for_prompt()
        assert f"using the server at {dying.address}" in terminal.words
        assert "phi4-nano, 11.2 MB, 2,048 tokens of context, on the server" in terminal.words
        terminal.type(QUESTION)
        terminal.wait_for("3 plus 4 is 7.")
        terminal.wait_for("24/2,048 · ")
        terminal.type("/context")
        terminal.wait_for("are free for the next question")
        terminal.type("/show")
        terminal.wait_for("chat template")
        run = story()
        dying.process.kill()
        dying.stop(signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1
    using, error, hint = said.decode().splitlines()
    assert using == f"using the server at {dying.address}"
    assert error.startswith(f"error: the server {dying.address} ")
    assert hint.startswith("hint: ")

    terminal.type("What is 2 plus 2?")
    terminal.wait_for("error: the server")
    terminal.wait_for("hint: `/model phi4-nano` goes on")
    terminal.wait_for_prompt()
    terminal.type("/model phi4-nano")
    terminal.wait_for(f"using the server at {server.address}")  # the module's, which has it too
    terminal.wait_for_prompt()
    terminal.type("/context")
    terminal.wait_for("2,048 tokens, 1 turn", times=2)
    terminal.wait_for_prompt()
    terminal.type("What is 2 plus 2?")
    terminal.wait_for("2 plus 2 is 4.")
    terminal.type("/exit")
    assert terminal.finish() == 0
    terminal.close()
