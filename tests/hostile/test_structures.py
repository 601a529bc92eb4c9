"""Schemas, expressions and grammars that want to take all memory or time: refused, or bounded."""

from __future__ import annotations

import json

import pytest

import phi4local
from phi4local.errors import EngineError, InvalidSettingError
from phi4local.settings import SamplingSettings

pytestmark = pytest.mark.usefixtures("native_library")

MOST_BYTES = 400 * 2**20
"""Of the engine process above what it has with the model loaded."""


def nested(kind, depth):
    schema = {"type": "integer"}
    for _ in range(depth):
        schema = (
            {"type": "array", "items": schema}
            if kind == "array"
            else {"type": "object", "properties": {"a": schema}}
        )
    return schema


def exploding(count):
    return {
        "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(count)}
        | {f"d{count}": {"type": "integer"}},
        "$ref": "#/$defs/d0",
    }


def wide_any_of(count):
    return {"anyOf": [{"type": "object", "properties": {f"k{i}": {"type": "integer"}}} for i in range(count)]}


SCHEMAS = {
    "not closed": '{"type": "object"',
    "no JSON": "hello",
    "a list": "[]",
    "a number": "3",
    "nothing": "null",
    "false": "false",
    "NaN as a bound": '{"type": "number", "minimum": NaN}',
    "infinity as a bound": '{"type": "number", "maximum": Infinity}',
    "a bound of 1e400": '{"type": "number", "maximum": 1e400}',
    "a text as a bound": '{"type": "integer", "minimum": "0"}',
    "minimum above maximum": '{"type": "integer", "minimum": 5, "maximum": 3}',
    "no such type": '{"type": "thing"}',
    "a hundred thousand opening brackets": "[" * 100_000,
    "a hundred thousand levels": '{"items":' * 100_000 + "{}" + "}" * 100_000,
    "65 levels of arrays": json.dumps(nested("array", 70)),
    "40 levels of objects": json.dumps(nested("object", 30)),
    "a million characters": json.dumps({"enum": ["x" * 1_000_000]}),
    "a hundred thousand values": json.dumps({"enum": list(range(100_000))}),
    "ten thousand values": json.dumps({"enum": [f"value {i}" for i in range(10_000)]}),
    "five thousand properties": json.dumps(
        {"type": "object", "properties": {f"k{i}": {} for i in range(5_000)}}
    ),
    "a billion items": '{"type": "array", "minItems": 1000000000}',
    "five thousand items": '{"type": "array", "items": {"type": "boolean"}, "minItems": 5000}',
    "a text of a billion": '{"type": "string", "minLength": 1000000000}',
    "a text of five thousand": '{"type": "string", "minLength": 5000, "maxLength": 5000}',
    "a reference to itself": '{"$ref": "#"}',
    "two that refer to each other": json.dumps(
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    ),
    "a reference to nothing": '{"$ref": "#/$defs/none"}',
    "a reference to the web": '{"$ref": "http://127.0.0.1:9/x.json"}',
    "a reference to a file": '{"$ref": "file:///etc/passwd"}',
    "endless recursion": '{"type": "array", "items": {"$ref": "#"}, "minItems": 1}',
    "doubling twenty times": json.dumps(exploding(20)),
    "five hundred alternatives": json.dumps(wide_any_of(500)),
    "all of opposites": '{"allOf": [{"type": "integer"}, {"type": "string"}]}',
    "a catastrophic pattern": '{"type": "string", "pattern": "^(a+)+$"}',
    "a pattern with a look-behind": '{"type": "string", "pattern": "(?<=a)b"}',
    "a pattern with a back-reference": '{"type": "string", "pattern": "(a)\\\\1"}',
    "a pattern that is none": '{"type": "string", "pattern": "("}',
    "a pattern that counts far": '{"type": "string", "pattern": "(a{1,500}){1,500}"}',
    "a pattern of alternatives": json.dumps(
        {"type": "string", "pattern": "^(" + "|".join(f"a{i}b?" for i in range(250)) + ")*$"}
    ),
    "no such format": '{"type": "string", "format": "no-such-format"}',
    "not": '{"not": {"type": "object"}}',
    "if and else": '{"if": {"type": "integer"}, "then": {"minimum": 3}, "else": false}',
    "unique items": '{"type": "array", "items": {"type": "integer"}, "uniqueItems": true}',
    "pattern properties": '{"type": "object", "patternProperties": {"(a+)+": {"type": "integer"}}}',
    "half of a surrogate": '{"enum": ["\\ud800"]}',
    "control characters": '{"const": "\\u0000\\u001b[31m"}',
    "keys that are control tokens": json.dumps(
        {
            "type": "object",
            "properties": {"<|im_end|>": {"const": 1}},
            "required": ["<|im_end|>"],
            "additionalProperties": False,
        }
    ),
}
OTHERS = {
    "an expression of nested stars": {"regex": "((((a*)*)*)*)*b"},
    "an expression of classes": {"regex": "[\\s\\S]{0,3000}x[\\s\\S]{0,1}"},
    "an endless grammar": {"grammar": "root ::= root"},
    "a grammar that recurses to the left": {"grammar": 'root ::= root "a" | "a"'},
    "a grammar of optionals": {"grammar": "root ::= " + '"a"? ' * 2_000},
    "a grammar of a million characters": {"grammar": 'root ::= "' + "a" * 1_000_000 + '"'},
    "a grammar with deep brackets": {"grammar": "root ::= " + "(" * 5_000 + '"a"' + ")" * 5_000},
    "a grammar of zero bytes": {"grammar": "root ::= \x00"},
}
CASES = {name: {"json_schema": text} for name, text in SCHEMAS.items()} | OTHERS


BOUNDED = {
    "40 levels of objects",
    "ten thousand values",
    "a thousand properties",
    "five thousand items",
    "a text of five thousand",
    "a reference to itself",
    "two that refer to each other",
    "endless recursion",
    "doubling twenty times",
    "five hundred alternatives",
    "a catastrophic pattern",
    "a pattern of alternatives",
    "pattern properties",
    "control characters",
    "keys that are control tokens",
    "an expression of nested stars",
    "an expression of classes",
    "an endless grammar",
    "a grammar that recurses to the left",
    "a grammar of optionals",
}
REFUSED = CASES.keys() - BOUNDED


@pytest.fixture(scope="module")
def model(native_library):
    with phi4local.load("phi4-nano", phi4local.LoadSettings(context_tokens=512)) as model:
        schema = SamplingSettings(temperature=0, json_schema="{}")
        model.chat("Hello", sampling=schema, max_tokens=4).result()
        yield model


def outcome(model, structure):
    """Return the answer, or the error that stands for one."""
    sampling = SamplingSettings(temperature=1.5, seed=1, **structure)
    try:
        return model.chat("Hello", sampling=sampling, max_tokens=24).result()
    except (InvalidSettingError, EngineError) as error:
        return error


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_or_bounded(name, model):
    before = model.peak_memory_bytes()
    found = outcome(model, CASES[name])
    if isinstance(found, Exception):
        assert found.hint
        assert len(str(found)) < 1_000
        assert "internal error" not in str(found)
        assert "engine process" not in str(found)
        assert (name in REFUSED) == isinstance(found, InvalidSettingError)
    else:
        assert name not in REFUSED
        assert found.finished.reason in ("stop", "length")
    assert model.peak_memory_bytes() - before < MOST_BYTES
    assert model.chat("What is 3 plus 4?", sampling=SamplingSettings(temperature=0)).result().text


def test_there_are_at_least_forty():
    assert len(CASES) >= 40
