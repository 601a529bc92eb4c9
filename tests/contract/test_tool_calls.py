"""Structures that the model begins itself: what comes behind a trigger is valid, whatever is sampled."""

from __future__ import annotations

import ctypes
import json
import math
import re

import jsonschema
import pytest

import phi4local
from phi4local import gguf
from phi4local.convert import convert_checkpoint
from phi4local.engine.structure import Constraint, tool_call_schema
from phi4local.errors import InvalidSettingError
from phi4local.native.llama import NativeModel
from phi4local.settings import SamplingSettings

pytestmark = pytest.mark.usefixtures("native_library")

CALL, END, ENDS_ANSWER = 8107, 8108, 8105
TOOLS = {
    "weather": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 6}, "days": {"$ref": "#/$defs/days"}},
        "required": ["city"],
        "additionalProperties": False,
        "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
        "$schema": "https://json-schema.org/draft/2020-12/schema",
    },
    "now": None,
    "tree": {
        "type": "object",
        "properties": {"leaf": {"type": "boolean"}, "next": {"$ref": "#"}},
        "required": ["leaf"],
        "additionalProperties": False,
    },
    "pick": {
        "type": "object",
        "properties": {"one": {"enum": ["a", {"$ref": "#/data"}]}},
        "required": ["one"],
        "additionalProperties": False,
    },
}
SCHEMA = tool_call_schema(TOOLS)
SEVERAL = tool_call_schema(TOOLS, several=True)
BY_TOKEN = {"structure_trigger": "<|dummy_4|>", "structure_end": "<|dummy_5|>"}
GOOD = (
    '{"name": "now", "arguments": {}}',
    '{"name": "weather", "arguments": {"city": "Ulm", "days": 3}}',
    '{"name": "tree", "arguments": {"leaf": true, "next": {"leaf": false}}}',
    '{"name": "pick", "arguments": {"one": {"$ref": "#/data"}}}',
)
BAD = (
    '{"name": "later", "arguments": {}}',
    '{"name": "now", "arguments": {"city": "Ulm"}}',
    '{"name": "weather", "arguments": {"city": "Ulm", "days": 10}}',
    '{"name": "weather", "arguments": {"days": 1}}',
    '{"name": "tree", "arguments": {"leaf": true, "next": {"leaf": 1}}}',
    '{"name": "now", "arguments": []}',
    '{"arguments": {}, "name": "now"}',
    '["now"]',
)


@pytest.fixture(scope="module")
def model(native_library):
    with phi4local.load("phi4-nano", phi4local.LoadSettings(parallel=8, context_tokens=512)) as model:
        yield model


@pytest.fixture(scope="module")
def native(checkpoint, tmp_path_factory, native_library):
    path = tmp_path_factory.mktemp("calls") / "nano.gguf"
    convert_checkpoint(checkpoint, path, "Q8_0")
    gguf.validate(path)
    native = NativeModel(path)
    yield native
    native.close()


def answers(model, *, count=6, max_tokens=120, **settings):
    free = {"temperature": 1.8, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    running = [
        model.chat(
            "Tell me a story.",
            sampling=SamplingSettings(**free | settings, seed=seed),
            max_tokens=max_tokens,
        )
        for seed in range(count)
    ]
    return [one.result() for one in running]


def follows(native, parts, schema=SCHEMA, **settings):
    """Force the tokens of an answer, texts and ids; return "ends", "goes on" or "refused"."""
    constraint = Constraint(native, SamplingSettings(json_schema=json.dumps(schema), **settings))
    row = (ctypes.c_float * native.vocabulary_tokens)()
    logits = ctypes.cast(row, ctypes.POINTER(ctypes.c_float))
    for part in parts:
        for token in [part] if isinstance(part, int) else native.tokenize(part, special=False):
            ctypes.memset(row, 0, ctypes.sizeof(row))
            constraint.apply(logits)
            if math.isinf(row[token]):
                return "refused"
            constraint.accept(token)
    if constraint.done:
        return "ends"
    ctypes.memset(row, 0, ctypes.sizeof(row))
    constraint.apply(logits)
    return "goes on" if math.isinf(row[ENDS_ANSWER]) else "ends"


@pytest.mark.parametrize("call", [*GOOD, *BAD])
def test_the_schema_of_several_tools_allows_calls_of_them_only(native, call):
    good = jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(call))
    assert good == (call in GOOD or call == BAD[6])  # JSON has no order of keys; models write the name first
    assert (follows(native, [call]) == "ends") == (call in GOOD)
    assert (follows(native, [f"[{call}, {call}]"], SEVERAL) == "ends") == (call in GOOD)
    assert (follows(native, ["I ask.", CALL, call, END], **BY_TOKEN) == "ends") == (call in GOOD)


def test_forced_tokens_around_a_trigger(native):
    for parts, expected in {
        (): "ends",
        ("No tool needed. { [",): "ends",
        ("I ask.", CALL): "goes on",
        (CALL, GOOD[0]): "goes on",
        (CALL, GOOD[0], END): "ends",
        (CALL, GOOD[0], ENDS_ANSWER): "refused",
        (CALL, "x"): "refused",
        (CALL, CALL): "refused",
        (END,): "refused",
        ("A", CALL, GOOD[0], END, "and", CALL, "\n", GOOD[1], "\n", END, " done."): "ends",
        (CALL, GOOD[0], END, CALL, "no"): "refused",
    }.items():
        assert follows(native, parts, **BY_TOKEN) == expected, parts


def test_the_answer_ends_with_a_structure_that_nothing_closes(native):
    for parts, expected in {
        ("Just words.",): "ends",
        ("Words", CALL): "goes on",
        ("Words", CALL, GOOD[0]): "ends",
        ("Words", CALL, GOOD[0], "more"): "refused",
    }.items():
        assert follows(native, parts, structure_trigger="<|dummy_4|>") == expected, parts


@pytest.mark.parametrize("trigger", ["<tool>", "e", "a/b\n", "Ä", "call: "])
def test_forced_texts_around_a_trigger_in_letters(native, trigger):
    settings = {"structure_trigger": trigger, "structure_end": "</tool>"}
    assert follows(native, ["HI, YOU."], **settings) == "ends"
    assert follows(native, ["HI " + trigger], **settings) == "goes on"
    assert follows(native, ["HI " + trigger + "zz"], **settings) == "refused"
    assert (
        follows(native, [trigger + GOOD[0] + "</tool> X " + trigger + GOOD[1] + "</tool>"], **settings)
        == "ends"
    )
    assert follows(native, [trigger + GOOD[0] + "</tool> X " + trigger + BAD[0]], **settings) == "refused"


def test_forced_answers_that_begin_as_a_call(native):
    for text, expected in {
        "": "ends",
        "It is late.": "ends",
        "It says " + BAD[0]: "ends",
        '{"nam': "ends",
        '{"named": 3}': "ends",
        '{"name":': "goes on",
        GOOD[0]: "ends",
        "\n" + GOOD[1]: "ends",
        GOOD[0] + "!": "refused",
        BAD[0]: "refused",
        "  " + BAD[2]: "refused",
    }.items():
        assert follows(native, [text], structure_start='{"name"') == expected, text


def test_forced_answers_behind_thoughts_that_begin_as_a_call(native):
    for text, expected in {
        "": "ends",
        "It is late.": "ends",
        "<think>Hm. " + BAD[0] + "</think>It is late.": "ends",
        "<think>Hm.</think>": "ends",
        "<think>Hm.</think>\n" + GOOD[1]: "ends",
        '<think>Hm.</think>{"name":': "goes on",
        "<think>Hm.</think>" + BAD[0]: "refused",
        "<think>Hm.</think>" + GOOD[0] + "!": "refused",
        GOOD[0]: "ends",
        BAD[2]: "refused",
    }.items():
        settings = {"structure_start": '{"name"', "structure_after": "</think>"}
        assert follows(native, [text], **settings) == expected, text


def test_forced_calls_one_a_line(native):
    for text, expected in {
        GOOD[0]: "ends",
        GOOD[0] + "\n" + GOOD[1] + "\n" + GOOD[2]: "ends",
        GOOD[0] + "\n": "goes on",
        GOOD[0] + "\n" + BAD[0]: "refused",
        GOOD[0] + GOOD[1]: "refused",
        "\n".join([GOOD[0]] * 4): "refused",
        "Words.\n" + BAD[0]: "ends",
    }.items():
        settings = {"structure_start": '{"name"', "structure_repeat": 3}
        assert follows(native, [text], **settings) == expected, text
    assert follows(native, ["\n".join(GOOD[:2])], structure_repeat=2) == "ends"
    assert follows(native, ["\n".join(GOOD[:2])], structure_repeat=1) == "refused"


def valid(text, schema=SCHEMA):
    return jsonschema.Draft202012Validator(schema).is_valid(json.loads(text))


def parts_of(ids):
    """Return what stands between triggers and closings, and whether the last one was closed."""
    calls, inside = [], None
    for token in ids:
        if token == CALL:
            assert inside is None
            inside = []
        elif token == END:
            calls.append(inside)
            inside = None
        elif inside is not None:
            inside.append(token)
    return calls, inside is None


def test_sampled_calls_behind_a_token_are_valid(model, native):
    found = answers(model, json_schema=SCHEMA, logit_bias={CALL: 15.0}, count=12, max_tokens=200, **BY_TOKEN)
    calls = 0
    for answer in found:
        ids = [token for token in answer.token_ids if token != ENDS_ANSWER]
        closed, complete = parts_of(ids)
        assert complete or answer.finished.reason == "length"
        for call in closed:
            assert valid(b"".join(native.piece(token) for token in call)), call
        calls += len(closed)
    assert calls >= 6


def test_sampled_calls_behind_a_text_are_valid(model):
    """Many tokens have an "e" and something behind it, which has to fit the schema then."""
    schema = {"enum": [1, "red", ["x"], {"a": None}]}
    triggered = 0
    for answer in answers(model, count=12, json_schema=schema, structure_trigger="e"):
        _, found, rest = answer.text.partition("e")
        if found and answer.finished.reason == "stop":
            assert json.loads(rest) in schema["enum"]
            triggered += 1
    assert triggered >= 6


def test_sampled_answers_that_begin_as_a_structure_are_valid(model):
    schema = {"enum": [{"a": 1}, {"b": [True]}]}
    brace = 90  # "{"
    kinds = set()
    for answer in answers(model, count=16, json_schema=schema, structure_start="{", logit_bias={brace: 16.0}):
        begins = answer.text.lstrip().startswith("{")
        if begins and answer.finished.reason == "stop":
            assert json.loads(answer.text) in schema["enum"]
        kinds.add(begins)
    assert kinds == {True, False}


def test_an_answer_without_the_trigger_is_the_free_answer(model):
    for question in ("Why is the sky blue?", "What is 3 plus 4?"):
        greedy = {"temperature": 0, "top_k": 40}
        free = model.chat(question, sampling=SamplingSettings(**greedy)).result()
        for where in ({**BY_TOKEN}, {"structure_trigger": "<tool>"}, {"structure_start": '{"name"'}):
            sampling = SamplingSettings(**greedy, json_schema=json.dumps(SCHEMA), **where)
            found = model.chat(question, sampling=sampling).result()
            assert (found.text, found.finished.reason) == (free.text, free.finished.reason)


def test_guesses_around_a_call_change_nothing(native_library):
    """The structure sees every token once, in its order, whether it was guessed or not."""
    found = {}
    for mode in ("lookup", "off"):
        with phi4local.load(
            "phi4-nano", phi4local.LoadSettings(context_tokens=512, speculation=mode, threads=1)
        ) as model:
            found[mode] = model.chat(
                "Say: " + GOOD[0] * 3,
                sampling=SamplingSettings(
                    temperature=0, json_schema=json.dumps(SCHEMA), logit_bias={CALL: 15.0}, **BY_TOKEN
                ),
                max_tokens=200,
            ).result()
    assert found["lookup"].token_ids == found["off"].token_ids
    assert CALL in found["off"].token_ids
    assert found["lookup"].finished.usage.accepted_tokens > 0
    assert found["off"].finished.usage.drafted_tokens == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"structure_trigger": "x", "grammar": 'root ::= "a"'}, "goes with json_schema and regex only"),
        ({"structure_trigger": "x"}, "goes with json_schema and regex only"),
        ({"structure_start": "x", "structure_trigger": "y", "regex": "a"}, "cannot go together"),
        ({"structure_repeat": 2}, "goes with json_schema and regex only"),
        ({"structure_repeat": 0, "regex": "a"}, "structure_repeat"),
        ({"structure_end": "x", "regex": "a"}, "goes with structure_trigger only"),
    ],
)
def test_settings_that_do_not_fit_are_refused(model, settings, says):
    with pytest.raises(InvalidSettingError, match=re.escape(says)):
        model.chat("Hello", sampling=SamplingSettings(**settings)).result()


@pytest.mark.parametrize("tools", [{}, {"a": "text"}])
def test_tools_without_schemas_are_refused(tools):
    with pytest.raises(InvalidSettingError, match="tools") as caught:
        tool_call_schema(tools)
    assert caught.value.hint
