"""Any JSON as an answer: a source returns files that can be fetched, or raises one of our errors."""

import copy
import json
import os
import unicodedata
from unittest import mock

import hypothesis
import pytest
from hypothesis import strategies

from phi4local.errors import Phi4LocalError
from phi4local.store import sources
from phi4local.store.paths import safe_path
from phi4local.store.references import parse
from tests.hubs import Fault, HuggingFaceHub, ModelScopeHub, OllamaRegistry

DIGEST, COMMIT = "4" * 64, "5" * 40
LFS = {"oid": DIGEST, "size": 104, "pointerSize": 135}
FILE = {"type": "file", "oid": COMMIT, "size": 104, "path": "phi-4-Q4_K_M.gguf", "lfs": LFS}
ENTRY = {"Type": "blob", "Path": "phi-4-Q4_K_M.gguf", "Size": 104, "Sha256": DIGEST, "Revision": COMMIT}
MODEL = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{DIGEST}", "size": 104}
HONEST = {
    "hf.co/u/r": [{"sha": COMMIT, "gated": False}, [FILE, FILE | {"path": "b-Q8_0.gguf"}]],
    "modelscope.cn/u/r": [{"Code": 200, "Success": True, "Data": {"Files": [ENTRY]}}],
    "phi4:14b": [
        {
            "schemaVersion": 2,
            "config": MODEL | {"mediaType": "x"},
            "layers": [MODEL, MODEL | {"mediaType": "application/x", "name": "a/b"}],
        }
    ],
}
HUBS = {
    "hf.co/u/r": (HuggingFaceHub, "HF_ENDPOINT"),
    "modelscope.cn/u/r": (ModelScopeHub, "MODELSCOPE_ENDPOINT"),
    "phi4:14b": (OllamaRegistry, "PHI4LOCAL_REGISTRY"),
}

LEAVES = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-(2**70), 2**70)
    | strategies.floats()
    | strategies.text(max_size=20)
    | strategies.sampled_from(["../x", "sha256:" + "a" * 63, "tree", "x" * 3000, "\ud800", "\x00"])
)
VALUES = strategies.recursive(
    LEAVES,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.text(), inner),
    max_leaves=5,
)


@strategies.composite
def spoiled(draw, honest):
    """An honest answer with one to three places changed, or taken out."""
    answer = copy.deepcopy(honest)
    for _ in range(draw(strategies.integers(1, 3))):
        answer = _spoil(draw, answer)
    return answer


def _spoil(draw, value):
    if isinstance(value, dict) and value and draw(strategies.integers(0, 9)):
        key = draw(strategies.sampled_from(sorted(value)))
        if draw(strategies.integers(0, 4)) == 0:
            return {name: kept for name, kept in value.items() if name != key}
        return value | {key: _spoil(draw, value[key])}
    if isinstance(value, list) and value and draw(strategies.integers(0, 9)):
        place = draw(strategies.integers(0, len(value) - 1))
        return [*value[:place], _spoil(draw, value[place]), *value[place + 1 :]]
    return draw(VALUES)


@pytest.fixture(params=HUBS)
def place(request):
    kind, variable = HUBS[request.param]
    with kind() as hub, mock.patch.dict(os.environ, {variable: hub.url}):
        if kind is not OllamaRegistry:
            hub.add("u/r", {})
        yield hub, request.param


REORDERING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def test_honest_answers_are_taken(place):
    hub, name = place
    hub.faults = [Fault(status=200, body=json.dumps(answer).encode()) for answer in HONEST[name]]
    assert sources.resolve(parse(name)).files


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(data=strategies.data())
def test_any_answer_is_a_model_or_an_error(place, data):
    hub, name = place
    answers = [data.draw(strategies.just(answer) | spoiled(answer)) for answer in HONEST[name]]
    hub.faults = [Fault(status=200, body=json.dumps(answer).encode()) for answer in answers]
    try:
        model = sources.resolve(parse(name))
    except Phi4LocalError as error:
        explained = f"{error} {error.hint}"
    else:
        assert model.files
        for file in model.files:
            assert safe_path(file.path) == file.path
            assert file.size_bytes >= 0
            assert file.url.startswith(f"{hub.url}/")
        return
    # Not `isprintable`: letters newer than this Python are not, and are no danger.
    assert not [letter for letter in explained if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [letter for letter in explained if unicodedata.bidirectional(letter) in REORDERING]
    assert len(explained) < 1000
