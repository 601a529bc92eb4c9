"""Phi-4-mini's two sets of rotary factors: a conversation begins with the short ones and moves once."""

import ctypes
import json
import random
import shutil

import numpy as np
import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.native.context import ContextShape, NativeContext
from phi4local.native.llama import NativeModel
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings
from tests.random_checkpoint import long_rope_tables

SHORT_TOKENS = 256
GREEDY = SamplingSettings(temperature=0)


@pytest.fixture(scope="module")
def path(checkpoint, tmp_path_factory, native_library):
    """Convert phi4-nano with LongRoPE: trained weights, so that positions matter."""
    folder = tmp_path_factory.mktemp("mini")
    shutil.copytree(checkpoint, folder / "checkpoint", ignore=shutil.ignore_patterns("training"))
    config = json.loads((checkpoint / "config.json").read_text())
    pairs = config["hidden_size"] // config["num_attention_heads"] // 2
    config |= {
        "max_position_embeddings": 8192,
        "original_max_position_embeddings": SHORT_TOKENS,
        "rope_scaling": {"type": "longrope", **long_rope_tables(pairs)},
    }
    (folder / "checkpoint" / "config.json").write_text(json.dumps(config))
    convert_checkpoint(folder / "checkpoint", folder / "mini.gguf", "F32")
    return folder / "mini.gguf"


@pytest.fixture(scope="module")
def model_file(path):
    return file_facts(gguf.validate(path)).model_file()


def prompt(tokens: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(8000), k=tokens))


def with_llama_cpp(path, ids, tokens: int, *, context_tokens: int) -> list[int]:
    """Return the greedy continuation of `ids` from a context of llama.cpp, one sequence alone."""
    native = NativeModel(path)
    shape = ContextShape(context_tokens=context_tokens, batch_tokens=512, threads=1, kv_type="f32")
    context = NativeContext(native, shape)
    generated: list[int] = []
    pending, place = list(ids), 0
    while len(generated) < tokens:
        for start in range(0, len(pending), 512):
            context.decode(pending[start : start + 512], place)
            place += len(pending[start : start + 512])
        logits = ctypes.cast(context.logits(), ctypes.POINTER(ctypes.c_float * native.vocabulary_tokens))
        pending = [int(np.argmax(np.frombuffer(logits.contents, np.float32)))]
        generated += pending
    context.close()
    native.close()
    return generated


def expected_ids(path, ids, tokens: int) -> list[int]:
    """Short factors as long as the sequence fits into the short context, then everything with long ones."""
    first = max(0, SHORT_TOKENS - len(ids) + 1)
    begun = with_llama_cpp(path, ids, first, context_tokens=SHORT_TOKENS) if first else []
    rest = tokens - len(begun)
    return begun + with_llama_cpp(path, [*ids, *begun], rest, context_tokens=8192)


def submit(engine, ids, tokens):
    request = Request(
        segments=(TokenSegment(tuple(ids)),), sampling=GREEDY, max_tokens=tokens, ignore_end=True
    )
    return engine.submit(request)


def test_the_factors_make_a_difference_here(path):
    ids = prompt(200)
    short = with_llama_cpp(path, ids, 20, context_tokens=SHORT_TOKENS)
    assert short != with_llama_cpp(path, ids, 20, context_tokens=8192)


@pytest.mark.parametrize(("parallel", "length"), [(1, 200), (1, 256), (1, 257), (1, 700), (4, 200)])
def test_ids_are_those_of_the_right_factors(path, model_file, parallel, length):
    settings = LoadSettings(context_tokens=8192, cache_tokens=8192, threads=1, kv_type="f32")
    with Engine(model_file, settings.filled_from(LoadSettings(parallel=parallel))) as engine:
        generations = [submit(engine, prompt(length, seed), 80) for seed in range(parallel)]
        found = [list(generation.result().token_ids) for generation in generations]
    assert found == [expected_ids(path, prompt(length, seed), 80) for seed in range(parallel)]


def test_a_short_context_setting_needs_no_second_context(path, model_file):
    with Engine(model_file, LoadSettings(context_tokens=250, threads=1, parallel=4, kv_type="f32")) as engine:
        found = list(submit(engine, prompt(200), 50).result().token_ids)
    assert found == with_llama_cpp(path, prompt(200), 50, context_tokens=SHORT_TOKENS)


def test_a_moved_conversation_stays_where_it_is(model_file):
    settings = LoadSettings(context_tokens=2048, threads=1, kv_type="f32")
    with Engine(model_file, settings) as engine:
        first = submit(engine, prompt(200), 100).result()
        turn = [*prompt(200), *first.token_ids, 5, 6]
        usage = submit(engine, turn, 5).result().finished.usage
    assert usage.prompt_tokens - usage.reused_tokens == 3  # two new ones, and the last of the first answer
