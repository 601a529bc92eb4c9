"""Logits cut to 128 candidates inside llama.cpp's graph, as on a GPU: the same answers as from whole rows.

llama.cpp runs the same graph on the CPU, so that this machine can show it.
"""

import itertools
import json

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.native.context import ContextShape, NativeContext, Piece
from phi4local.native.llama import NativeModel
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings


@pytest.fixture(scope="module")
def model_file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("f32") / "nano-F32.gguf"
    convert_checkpoint(checkpoint, path, "F32")
    return file_facts(gguf.validate(path)).model_file()


@pytest.fixture(scope="module")
def engine(model_file, native_library):
    settings = LoadSettings(context_tokens=512, threads=1, parallel=4, device_cut=True)
    with_cut = Engine(model_file, settings)
    yield with_cut
    with_cut.close()


@pytest.fixture(scope="module")
def whole(model_file, native_library):
    engine = Engine(model_file, LoadSettings(context_tokens=512, threads=1, parallel=4, device_cut=False))
    yield engine
    engine.close()


def ask(ids, **sampling):
    return Request(segments=(TokenSegment(tuple(ids)),), sampling=SamplingSettings(**sampling), max_tokens=64)


def test_greedy_answers_are_those_of_transformers(engine, checkpoint):
    cases = json.loads((checkpoint / "expected-greedy.json").read_text())["greedy"]
    # One after the other and with a seed: some choices of the model are near ones, which a batch may move.
    answers = [engine.submit(ask(case["prompt_ids"], temperature=0, seed=1)).result() for case in cases]
    assert [list(answer.token_ids) for answer in answers] == [case["generated_ids"] for case in cases]


WAYS = {
    "cut": {"top_k": 40, "top_p": 0.95},
    "cut at its limit": {"top_k": 128},
    "cut, with XTC": {"top_k": 50, "xtc_probability": 0.5, "xtc_threshold": 0.1},
    "too many tokens": {"top_k": 129},
    "a bias first": {"top_k": 40, "logit_bias": {300: 5.0}},
    "penalties first": {"top_k": 40, "repeat_penalty": 1.3},
    "log-probabilities": {"top_k": 40, "logprobs": 3},
    "typical": {"top_k": 40, "typical_p": 0.9},
    "mirostat": {"mirostat": 2},
}


@pytest.mark.parametrize("way", WAYS)
def test_seeded_answers_are_those_from_whole_rows(engine, whole, way):
    request = ask(range(300, 340), temperature=1.2, seed=7, **WAYS[way])
    ours, theirs = (e.submit(request).result() for e in (engine, whole))
    assert ours.token_ids == theirs.token_ids
    assert ours.logprobs == theirs.logprobs


def test_requests_of_both_kinds_share_batches(engine, whole):
    """Whole rows are fetched for the ones, candidates for the others, in any mixture and order."""
    ways = list(itertools.islice(itertools.cycle(WAYS.values()), 14))
    requests = [ask(range(300 + i, 320 + i), temperature=0, **way) for i, way in enumerate(ways)]
    alone = [whole.submit(request).result().token_ids for request in requests]
    together = [generation.result().token_ids for generation in map(engine.submit, requests)]
    assert together == alone


def test_candidates_are_the_largest_logits(model_file, native_library):
    model = NativeModel(model_file.path)
    shape = ContextShape(context_tokens=256, batch_tokens=256, threads=1, sequences=2, device_cut=True)
    context = NativeContext(model, shape)
    assert context.cut.use(0, wanted=True)
    rows = context.decode_batch([Piece(0, 0, (300, 301), True), Piece(1, 0, (300, 301), True)])
    logits = context.logits(rows[1])[: model.vocabulary_tokens]
    got = context._api.llama_get_sampled_logits_ith(context.handle, rows[0])[:128]
    assert sorted(got) == pytest.approx(sorted(logits)[-128:], rel=1e-6)
    assert not context.cut.use(0, wanted=False)
    context.decode_batch([Piece(0, 2, (302,), True)])
    context.close()
    model.close()
