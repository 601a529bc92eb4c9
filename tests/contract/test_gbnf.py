"""Grammars mean what they mean in llama.cpp: its own sampler decides, in a process that it may end."""

from __future__ import annotations

import ctypes
import json
import math
import subprocess
import sys

import pytest

from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine.structure import Constraint
from phi4local.errors import EngineError, InvalidSettingError
from phi4local.native.llama import NativeModel
from phi4local.settings import SamplingSettings
from tests.gbnf_samples import GRAMMARS

ENDS_ANSWER = 8105
_LLAMA_CPP = """
import json, math, sys, llama_cpp as l
parameters = l.llama_model_default_params()
parameters.vocab_only = True
model = l.llama_model_load_from_file(sys.argv[1].encode(), parameters)
vocabulary = l.llama_model_get_vocab(model)

def allowed(sampler, token):
    one = (l.llama_token_data * 1)(l.llama_token_data(token, 0.0, 0.0))
    array = l.llama_token_data_array(one, 1, -1, False)
    l.llama_sampler_apply(sampler, array)
    return not math.isinf(one[0].logit)

def takes(grammar, ids):
    sampler = l.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
    if not sampler:
        return None
    for token in ids:
        if not allowed(sampler, token):
            return False
        l.llama_sampler_accept(sampler, token)
    return allowed(sampler, l.llama_vocab_eot(vocabulary))

cases = json.loads(sys.stdin.read())
print(json.dumps([[takes(grammar, ids) for ids in texts] for grammar, texts in cases]))
"""


@pytest.fixture(scope="module")
def native(checkpoint, tmp_path_factory, native_library):
    path = tmp_path_factory.mktemp("gbnf") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0")
    gguf.validate(path)
    native = NativeModel(path)
    yield native, path
    native.close()


def ways(native, text):
    """Return the ids of a text as the tokenizer has them, and letter by letter."""
    letters = [token for letter in text for token in native.tokenize(letter, special=False)]
    return [native.tokenize(text, special=False), letters]


@pytest.fixture(scope="module")
def llama_cpp(native):
    """Return name → what llama.cpp says of each way to write each text."""
    model, path = native
    cases = [
        (grammar, [ids for text in texts for ids in ways(model, text)])
        for grammar, texts in GRAMMARS.values()
    ]
    done = subprocess.run(
        [sys.executable, "-c", _LLAMA_CPP, str(path)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return dict(zip(GRAMMARS, json.loads(done.stdout), strict=True))


def takes(native, grammar, ids):
    """Follow any ids; the mask offers only the tokenizer's own where a text is the only one possible."""
    constraint = Constraint(native, SamplingSettings(grammar=grammar))
    try:
        for token in ids:
            constraint.accept(token)
    except EngineError:
        return False
    if constraint.done:
        return True
    row = (ctypes.c_float * native.vocabulary_tokens)()
    constraint.apply(ctypes.cast(row, ctypes.POINTER(ctypes.c_float)))
    return not math.isinf(row[ENDS_ANSWER])


REFUSED = {"exactly none"}
"""Differences: an empty repetition is refused with a reason."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_followed_is_refused(name, native):
    with pytest.raises(InvalidSettingError, match="grammar"):
        takes(native[0], GRAMMARS[name][0], [])


@pytest.mark.parametrize("name", sorted(GRAMMARS.keys() - REFUSED))
def test_a_grammar_takes_the_texts_that_llama_cpp_takes(name, native, llama_cpp):
    grammar, texts = GRAMMARS[name]
    cases = [(text, ids) for text in texts for ids in ways(native[0], text)]
    for (text, ids), theirs in zip(cases, llama_cpp[name], strict=True):
        assert theirs is not None
        assert takes(native[0], grammar, ids) == theirs, (text, ids)


def test_the_samples_have_both_kinds(llama_cpp):
    answers = [answer for found in llama_cpp.values() for answer in found]
    assert len(GRAMMARS) >= 60
    assert min(answers.count(True), answers.count(False)) >= 200
