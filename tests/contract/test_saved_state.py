"""Conversations on disk: put back they go on at once, and nothing else is ever put back."""

import json
import random
import struct

import pytest

import phi4local
from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.errors import EngineError, InvalidSettingError, SavedStateError
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

GREEDY = SamplingSettings(temperature=0)
SETTINGS = LoadSettings(context_tokens=1024, threads=1)


@pytest.fixture(scope="module")
def model_files(checkpoint, tmp_path_factory, native_library):
    folder = tmp_path_factory.mktemp("models")
    for quantization in ("F32", "Q8_0"):
        convert_checkpoint(checkpoint, folder / f"{quantization}.gguf", quantization)
    return {
        quantization: file_facts(gguf.validate(folder / f"{quantization}.gguf")).model_file()
        for quantization in ("F32", "Q8_0")
    }


def ask(ids, tokens=30):
    return Request(segments=(TokenSegment(tuple(ids)),), sampling=GREEDY, max_tokens=tokens, ignore_end=True)


def some_ids(count, seed):
    return random.Random(seed).choices(range(8000), k=count)


@pytest.fixture(scope="module")
def turn():
    return some_ids(400, 1)


@pytest.fixture(scope="module")
def saved(model_files, turn, tmp_path_factory):
    """Return the file of a conversation, its ids so far, and how it goes on."""
    path = tmp_path_factory.mktemp("saved") / "conversation.kv"
    with Engine(model_files["F32"], SETTINGS) as engine:
        answer = engine.submit(ask(turn)).result().token_ids
        state = engine.save(ask([*turn, *answer]), path)
        following = engine.submit(ask([*turn, *answer, 7, 8])).result().token_ids
    assert state.tokens == 400 + 29  # the newest token was chosen, not evaluated
    assert state.file_bytes == path.stat().st_size
    return path, [*turn, *answer], following


@pytest.mark.parametrize("parallel", [1, 3])
def test_a_restored_conversation_goes_on_without_evaluating_it_again(model_files, saved, parallel):
    path, ids, following = saved
    settings = LoadSettings(parallel=parallel).filled_from(SETTINGS)
    with Engine(model_files["F32"], settings) as engine:
        engine.submit(ask(some_ids(100, 2))).result()  # somebody else's cells are there already
        assert engine.restore(path).tokens == 429
        completion = engine.submit(ask([*ids, 7, 8])).result()
    assert completion.finished.usage.reused_tokens == 429
    assert completion.token_ids == following


def test_streams_are_restored_too(model_files, turn, tmp_path):
    settings = LoadSettings(parallel=2, unified_kv=False).filled_from(SETTINGS)
    with Engine(model_files["F32"], settings) as engine:
        engine.submit(ask(turn, tokens=1)).result()
        engine.save(ask(turn), tmp_path / "stream.kv")
        expected = engine.submit(ask([*turn, 7])).result().token_ids
    with Engine(model_files["F32"], settings) as engine:
        engine.restore(tmp_path / "stream.kv")
        completion = engine.submit(ask([*turn, 7])).result()
    assert completion.finished.usage.reused_tokens == 400
    assert completion.token_ids == expected


def test_another_model_another_cache_type_and_a_smaller_context_are_refused(model_files, saved):
    path, _, _ = saved
    cases = {
        "another model": (model_files["Q8_0"], SETTINGS),
        "another kv type": (model_files["F32"], LoadSettings(kv_type="q8_0").filled_from(SETTINGS)),
        "another `parallel`": (
            model_files["F32"],
            LoadSettings(parallel=2, unified_kv=False).filled_from(SETTINGS),
        ),
        "no room": (model_files["F32"], LoadSettings(context_tokens=256, threads=1)),
    }
    for message, (file, settings) in cases.items():
        with Engine(file, settings) as engine:
            with pytest.raises(SavedStateError, match=message):
                engine.restore(path)
            assert engine.submit(ask([5], tokens=3)).result().finished.usage.generated_tokens == 3


def spoil(data: bytes, how: str) -> bytes:
    head_start = len(b"phi4local KV 1\n") + 4
    (length,) = struct.unpack("<I", data[head_start - 4 : head_start])
    head, rest = json.loads(data[head_start : head_start + length]), data[head_start + length :]
    if how == "empty":
        return b""
    if how == "cut off":
        return data[: len(data) // 2]
    if how == "one bit":
        return data[:-1000] + bytes([data[-1000] ^ 1]) + data[-999:]
    if how == "one id":
        return data[: head_start + length] + b"\x00" + rest[1:]
    if how == "huge head":
        return data[: head_start - 4] + b"\xff\xff\xff\xff" + data[head_start:]
    head |= {"negative count": {"tokens": -1}, "wrong count": {"tokens": 5}, "text": {"adapters": 3}}[how]
    new = json.dumps(head).encode()
    return data[: head_start - 4] + struct.pack("<I", len(new)) + new + rest


@pytest.mark.parametrize(
    "how",
    ["empty", "cut off", "one bit", "one id", "huge head", "negative count", "wrong count", "text"],
)
def test_damaged_files_never_reach_the_library(model_files, saved, tmp_path, how):
    path, ids, _ = saved
    (tmp_path / "damaged.kv").write_bytes(spoil(path.read_bytes(), how))
    with Engine(model_files["F32"], SETTINGS) as engine:
        with pytest.raises(SavedStateError):
            engine.restore(tmp_path / "damaged.kv")
        usage = engine.submit(ask(ids, tokens=2)).result().finished.usage
    assert usage.reused_tokens == 0


def test_a_file_larger_than_allowed_is_not_written(model_files, turn, tmp_path):
    with Engine(model_files["F32"], SETTINGS) as engine:
        engine.submit(ask(turn, tokens=1)).result()
        with pytest.raises(SavedStateError, match="10,000 are allowed"):
            engine.save(ask(turn), tmp_path / "big.kv", most_bytes=10_000)
        with pytest.raises(InvalidSettingError, match="not in the cache"):
            engine.save(ask([1, 2, 3]), tmp_path / "none.kv")
    assert list(tmp_path.iterdir()) == []


def test_a_closed_engine_says_so(model_files, saved, tmp_path):
    engine = Engine(model_files["F32"], SETTINGS)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.restore(saved[0])


def test_messages_are_saved_and_restored_through_the_worker(model_files, tmp_path):
    question = {"role": "user", "content": "Why is the sky blue?"}
    path = str(model_files["Q8_0"].path)
    with phi4local.load(path) as model:
        completion = model.chat([question]).result()
        conversation = [question, {"role": "assistant", "content": completion.text}]
        state = model.save(conversation, tmp_path / "sky.kv", kept_ids={1: completion.token_ids[:-1]})
    with phi4local.load(path) as model:
        assert model.restore(tmp_path / "sky.kv") == state
        following = model.chat(
            [*conversation, {"role": "user", "content": "And at night?"}],
            kept_ids={1: completion.token_ids[:-1]},
        ).result()
        with pytest.raises(SavedStateError, match="is no saved conversation"):
            model.restore(path)
    assert following.finished.usage.reused_tokens == state.tokens
