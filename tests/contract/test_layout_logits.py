"""The F32 file of every layout computes what transformers computes (tests/golden/make_logits.py)."""

import json

import numpy as np
import pytest

from phi4local.convert import convert_checkpoint, plan_conversion
from phi4local.native.context import ContextShape, NativeContext
from phi4local.native.llama import NativeModel
from tests.golden.make_logits import CASES, RESAVED, STORED, digest, positions, token_ids, write_case
from tests.random_checkpoint import write_json

LARGEST = 1e-3


@pytest.fixture(scope="module")
def golden():
    with np.load(STORED) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Return a function: name of a case → its checkpoint."""
    made = {}

    def checkpoint(name):
        if name not in made:
            made[name] = write_case(tmp_path_factory.mktemp("case") / "checkpoint", name)
        return made[name]

    return checkpoint


def logits(path, ids, context_tokens):
    """Return llama.cpp's logits at `positions`, with a cache of float32; rows of the vocabulary's length."""
    model = NativeModel(path)
    context = None
    try:
        shape = ContextShape(
            context_tokens=context_tokens, batch_tokens=512, threads=2, kv_type="f32", flash_attention=False
        )
        context = NativeContext(model, shape)
        rows, begin = [], 0
        for position in positions(len(ids)):
            while begin <= position:
                end = min(begin + 512, position + 1)
                context.decode(ids[begin:end].tolist(), begin)
                begin = end
            row = np.ctypeslib.as_array(context.logits(), (model.vocabulary_tokens,))
            rows.append(row.copy())
        return np.stack(rows)
    finally:
        if context is not None:
            context.close()
        model.close()


PAIRS = [(name, length) for name, case in CASES.items() for length in case.lengths]


@pytest.mark.parametrize(("name", "length"), PAIRS)
def test_logits_are_those_of_transformers(name, length, golden, checkpoints, native_library, tmp_path):
    """A context beyond the original length uses the long factors everywhere, as a longer sequence does."""
    checkpoint = checkpoints(name)
    assert digest(checkpoint) == str(golden[f"{name}|weights"]), "numpy makes other random numbers now"
    convert_checkpoint(checkpoint, tmp_path / "m.gguf", "F32")
    expected = golden[f"{name}|{length}"]
    ids = token_ids(length, expected.shape[-1])
    long = length > 4096
    found = logits(tmp_path / "m.gguf", ids, 4352 if long else 4096 if length == 4096 else 2048)
    assert np.abs(found - expected).max() <= LARGEST
    assert np.abs(expected).max() > 1  # the tolerance is no matter of small numbers


def test_the_other_factors_would_be_noticed(golden, checkpoints, native_library, tmp_path):
    """The same tokens in a context beyond 4,096: other factors, other logits."""
    convert_checkpoint(checkpoints("phi-4-mini"), tmp_path / "m.gguf", "F32")
    expected = golden["phi-4-mini|4096"]
    found = logits(tmp_path / "m.gguf", token_ids(4096, expected.shape[-1]), 4352)
    assert np.abs(found - expected).max() > 100 * LARGEST


@pytest.mark.parametrize("name", CASES)
def test_a_checkpoint_that_transformers_5_saved_again_says_the_same(name, checkpoints):
    """It keeps the rotary numbers in `rope_parameters` and calls the class of a tokenizer otherwise."""
    checkpoint = checkpoints(name)
    before = plan_conversion(checkpoint, "F32")
    original = (checkpoint / "config.json").read_text(encoding="utf-8")
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    resaved = json.loads(RESAVED.read_text(encoding="utf-8"))[name]
    assert "rope_parameters" in resaved
    try:
        write_json(checkpoint / "config.json", resaved)
        write_json(checkpoint / "tokenizer_config.json", settings | {"tokenizer_class": "TokenizersBackend"})
        after = plan_conversion(checkpoint, "F32")
    finally:
        (checkpoint / "config.json").write_text(original, encoding="utf-8")
    assert after.metadata == before.metadata
    assert [(t.name, t.shape, t.source) for t in after.tensors] == [
        (t.name, t.shape, t.source) for t in before.tensors
    ]
