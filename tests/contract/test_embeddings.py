"""Vectors of texts: transformers' last hidden states, from a context beside the one that answers."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.engine.worker import EngineWorker
from phi4local.errors import ContextTooLongError, InvalidSettingError
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

EXPECTED = json.loads((Path(__file__).parents[1] / "golden" / "python_api.json").read_text("utf-8"))[
    "embeddings"
]
TEXTS = list(EXPECTED)
GREEDY = SamplingSettings(temperature=0)


@pytest.fixture(scope="module", params=["in this process", "worker"])
def engine(request, checkpoint, tmp_path_factory, native_library):
    path = tmp_path_factory.mktemp("f32") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    file = file_facts(gguf.validate(path)).model_file()
    settings = LoadSettings(context_tokens=1024, threads=1, kv_type="f32")
    if request.param == "worker":
        with EngineWorker() as worker:
            worker.load(file, settings)
            yield worker
    else:
        with Engine(file, settings) as engine:
            yield engine


def expected(texts):
    return np.array([EXPECTED[text] for text in texts])


def test_vectors_are_the_mean_hidden_states_of_transformers(engine):
    vectors = engine.embed(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(TEXTS), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_one_text_alone_has_the_vector_that_it_has_among_others(engine):
    for text in TEXTS:
        np.testing.assert_allclose(engine.embed([text]), expected([text]), atol=1e-4)


def test_more_texts_than_a_batch_holds_keep_their_order(engine):
    order = [TEXTS[place * 7 % len(TEXTS)] for place in range(23)]
    np.testing.assert_allclose(engine.embed(order), expected(order), atol=1e-4)


def test_a_context_that_was_too_small_is_made_again(engine):
    short, long = "Hello", "one two three four five six " * 100
    before = engine.embed([short])
    assert engine.embed([long]).shape == (1, 256)
    np.testing.assert_allclose(engine.embed([short]), before, atol=1e-4)


def test_no_texts_give_no_vectors(engine):
    assert engine.embed([]).shape == (0, 256)


def test_a_text_that_is_longer_than_the_context_is_refused_with_counts(engine):
    with pytest.raises(ContextTooLongError) as caught:
        engine.embed(["Hello", "a b c d " * 400])
    assert caught.value.prompt_tokens > caught.value.context_tokens == 1024
    np.testing.assert_allclose(engine.embed(["Hello"]), expected(["Hello"]), atol=1e-4)


@pytest.mark.parametrize(
    ("texts", "named"), [(["a", ""], r"texts\[1\]"), ([3], r"texts\[0\]"), ([None], "text")]
)
def test_what_is_no_text_is_refused_and_named(engine, texts, named):
    with pytest.raises(InvalidSettingError, match=named):
        engine.embed(texts)


def test_answers_go_on_beside_embeddings(engine, checkpoint):
    case = json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"][1]
    request = Request(
        segments=(TokenSegment(tuple(case["prompt_ids"])),), sampling=GREEDY, max_tokens=200, ignore_end=True
    )
    alone = engine.submit(request).result()
    vectors = []
    threads = [threading.Thread(target=lambda: vectors.append(engine.embed(TEXTS))) for _ in range(2)]
    running = engine.submit(request)
    next(iter(running))
    for thread in threads:
        thread.start()
    assert running.result().token_ids == alone.token_ids
    for thread in threads:
        thread.join()
    for found in vectors:
        np.testing.assert_allclose(found, expected(TEXTS), atol=1e-4)
