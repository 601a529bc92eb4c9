"""Answers under a schema, an expression or a grammar: what ends by itself is valid, whatever is sampled."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

import phi4local
from phi4local.errors import InvalidSettingError
from phi4local.settings import SamplingSettings
from tests.structures import SCHEMAS

pytestmark = pytest.mark.usefixtures("native_library")

FORMATS = jsonschema.FormatChecker()


@FORMATS.checks("time")
def is_full_time(value):
    """As RFC 3339 has it; the package itself takes times without a zone only."""
    return re.fullmatch(r"\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value, re.IGNORECASE) is not None


FAST = list(SCHEMAS)[::9]


@pytest.fixture(scope="module")
def model(native_library):
    with phi4local.load("phi4-nano", phi4local.LoadSettings(parallel=8, context_tokens=512)) as model:
        yield model


def answers(model, sampling, *, count=4, max_tokens=120):
    """Ask at a temperature where everything that is allowed comes."""
    running = [
        model.chat(
            "Tell me a story.",
            sampling=SamplingSettings(temperature=1.8, top_k=0, top_p=1.0, min_p=0.0, seed=seed, **sampling),
            max_tokens=max_tokens,
        )
        for seed in range(count)
    ]
    return [one.result() for one in running]


CASES = [pytest.param(name, marks=() if name in FAST else pytest.mark.full) for name in SCHEMAS]


@pytest.mark.parametrize("name", CASES)
def test_what_ends_by_itself_is_valid(name, model):
    schema = SCHEMAS[name]
    check = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
    found = answers(model, {"json_schema": json.dumps(schema)})
    for answer in found:
        assert answer.finished.reason in ("stop", "length")
        if answer.finished.reason == "stop":
            check.validate(json.loads(answer.text))
    text = json.dumps(schema)
    endless = any(kind in text for kind in ("string", "number", "integer"))  # random ones seldom end in time
    assert endless or any(answer.finished.reason == "stop" for answer in found)


def test_there_are_two_hundred_schemas():
    assert len(SCHEMAS) >= 200
    assert len(FAST) >= 20


@pytest.mark.parametrize(
    "pattern", ["(yes|no)", "[0-9]{3}-[0-9]{4}", "[a-c]{2,5}x?", r"\d+(\.\d+)?", "a/b|c", "[äöü日]+!", ".{3}"]
)
def test_expressions(pattern, model):
    for answer in answers(model, {"regex": pattern}):
        if answer.finished.reason == "stop":
            assert re.fullmatch(pattern, answer.text), answer.text


GRAMMARS = {
    "words": ('root ::= ("yes" | "no") " " [a-z]+ "."', r"(yes|no) [a-z]+\."),
    "rules": ('root ::= item ("," item){0,2}\nitem ::= [0-9] | "x"', r"([0-9]|x)(,([0-9]|x)){0,2}"),
    "comment and escapes": ('# a comment\nroot ::= "\\"" [^"\\n]{1,3} "\\""\n', '"[^"\n]{1,3}"'),
    "many lines": ('root ::= (\n  "a" |\n  "b"\n) tail\ntail ::= "!"?', "[ab]!?"),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_grammars_of_llama_cpp(name, model):
    grammar, pattern = GRAMMARS[name]
    for answer in answers(model, {"grammar": grammar}):
        if answer.finished.reason == "stop":
            assert re.fullmatch(pattern, answer.text), answer.text


def test_free_text_comes_before_the_structure(model):
    sampling = SamplingSettings(temperature=0, regex="[0-9]{2}", structure_after="sky is blue")
    found = model.chat("Why is the sky blue?", sampling=sampling, max_tokens=80).result()
    free = model.chat("Why is the sky blue?", sampling=SamplingSettings(temperature=0)).result().text
    assert not re.fullmatch(r"(?s).*[0-9]{2}", free)
    if found.finished.reason == "stop":
        assert re.fullmatch(r"(?s).*sky is blue\s{0,4}[0-9]{2}", found.text)


def test_a_free_answer_beside_constrained_ones_is_the_same(model):
    """A mask of one sequence touches its own row only."""
    alone = model.chat("Why is the sky blue?", sampling=SamplingSettings(temperature=0)).result().text
    schema = json.dumps(SCHEMAS["2 to 4 words"])
    beside = [model.chat("Tell me a story.", sampling=SamplingSettings(json_schema=schema)) for _ in range(3)]
    free = model.chat("Why is the sky blue?", sampling=SamplingSettings(temperature=0))
    assert free.result().text == alone
    assert all(json.loads(one.result().text) for one in beside)


@pytest.mark.parametrize("value", [{"$ref": "x"}, {"maxLength": 9999}, [{"foo": 1}]])
def test_data_in_a_schema_is_no_schema(value, model):
    schema = {"enum": [value], "description": "data"}
    assert json.loads(answers(model, {"json_schema": json.dumps(schema)}, count=1)[0].text) == value


def test_log_probabilities_are_of_the_free_distribution(model):
    """A token that was the only one allowed has the probability that the model gave it."""
    prompt = "Why is the sky blue?"
    free = model.chat(prompt, sampling=SamplingSettings(temperature=0, logprobs=0), max_tokens=1).result()
    forced = model.chat(prompt, sampling=SamplingSettings(temperature=0, logprobs=1, regex="Z")).result()
    assert forced.text == "Z"
    assert forced.logprobs[0].logprob < -1
    assert forced.logprobs[0].top[0][0] == free.token_ids[0]
    assert forced.logprobs[0].top[0][1] == pytest.approx(free.logprobs[0].logprob, abs=1e-3)


def test_control_tokens_never_stand_in_a_structure(model):
    for answer in answers(model, {"regex": "[^a]{20}"}):
        assert "<|" not in answer.text or answer.token_ids
        assert all(token < 8097 for token in answer.token_ids)


@pytest.mark.parametrize(
    ("sampling", "says"),
    [
        ({"json_schema": "{"}, "is no JSON"),
        ({"json_schema": "[1]"}, "is no object"),
        ({"json_schema": '{"type": "integer", "not": {"const": 1}}'}, "cannot be followed"),
        ({"json_schema": '{"$ref": "https://example.com/x.json"}'}, "refers to"),
        ({"json_schema": '{"type": "string", "maxLenght": 3}'}, "unknown keyword 'maxLenght' at #"),
        ({"json_schema": '{"items": {"foo": 1}}'}, "unknown keyword 'foo' at #/items"),
        ({"grammar": 'start: %json {"minItems": 1000000000}'}, "has no rule"),
        ({"regex": "("}, "cannot be followed"),
        ({"regex": "(a{1000}){1000}"}, "repeats something more than"),
        ({"grammar": "root ::= other"}, "has no rule `other`"),
        ({"grammar": 'root ::= "a'}, "has no rule|is no GBNF"),
        ({"regex": "a", "grammar": 'root ::= "a"'}, "cannot go together"),
    ],
)
def test_refused_with_the_reason(sampling, says, model):
    with pytest.raises(InvalidSettingError, match=says) as caught:
        model.chat("Hello", sampling=SamplingSettings(**sampling)).result()
    assert caught.value.hint
    assert model.chat("What is 3 plus 4?", sampling=SamplingSettings(temperature=0)).result().text
