"""Values that cannot be, of every field, and bodies that are no JSON: refused in OpenAI's shape, by name."""

import http.client
import json
import urllib.parse

import pytest

from phi4local.server.openai.strict import Sampling

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
NO_NUMBERS = ["x", [], {}, True, float("nan"), float("inf"), -1e9, 1e9, 10**400]
EXTREMES = {
    "logit_bias": ["x", [], 5, {"x": 1}, {"-1": 1}, {"5": 1e9}, {"5": "x"}, {"9" * 30: 1}, {"5": True}],
    "stop": [5, {}, True, [5], [""], "", [[]], [None]],
    "dry_sequence_breakers": [5, "x", {}, True, [5], [""], ["x"] * 33],
    "regex": [5, [], {}, True, "", "(", "a{999999}{999999}"],
    "grammar": [5, [], {}, True, "", "root ::= (", "root ::= missing"],
    "seed": ["x", [], {}, True, 0.5, float("nan"), float("inf")],
    "max_tokens": ["x", [], {}, True, 0.5, float("nan"), 0, -1],
    "max_completion_tokens": ["x", [], {}, True, 0.5, float("nan"), 0, -1],
    "n": ["x", [], {}, True, 0.5, 0, -1, 17, 2**70],
    "top_logprobs": ["x", [], {}, True, 0.5, -1, 21],
    "model": [5, [], {}, None, True],
    "messages": [5, {}, None, True, "x", [], [5], [None], [{}], [[]]],
}
TOTALS = {"max_completion_tokens": "max_tokens"}
"""Two names of one setting; the engine's refusal has the first."""


@pytest.fixture(scope="module")
def post(served):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(served.address).netloc, timeout=60)

    def send(body, path="/v1/chat/completions"):
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    yield send
    connection.close()


def cases():
    for name in [*Sampling.model_fields, *EXTREMES]:
        for value in EXTREMES.get(name, NO_NUMBERS):
            yield name, value


def test_extremes_are_refused_by_name(post):
    wrong, count = [], 0
    for name, value in dict.fromkeys((name, json.dumps(value)) for name, value in cases()):
        values = {"model": "phi4-nano", "messages": QUESTION, "max_tokens": 1, "logprobs": True}
        values |= {name: json.loads(value)}
        if name == "max_completion_tokens":
            del values["max_tokens"]
        status, body = post(json.dumps(values))
        count += 1
        param = body.get("error", {}).get("param") or ""
        if status != 400 or param.partition("[")[0].partition(".")[0] not in (name, TOTALS.get(name)):
            wrong.append((name, value, status, body))
    assert wrong == []
    assert count >= 230


RESPONSES = {
    "input": [5, {}, None, True, [5], [None], [{}], [[]], [{"type": 5}], [{"role": "user"}], []],
    "instructions": [5, [], {}, True],
    "max_output_tokens": ["x", [], {}, True, 0.5, 0, -1],
    "top_logprobs": ["x", [], {}, True, 0.5, -1, 21],
    "tools": [5, "x", {}, [5], [{}], [{"type": "function"}], [{"type": "function", "name": ""}]],
    "tool_choice": [5, [], {}, "x", {"type": "function"}, {"type": "allowed_tools", "mode": "auto"}],
    "text": [5, [], "x", {"format": 5}, {"format": {"type": "x"}}, {"format": {"type": "json_schema"}}],
    "include": [5, "x", {}, [5], ["x"]],
    "metadata": [5, "x", [], {"a": 5}],
    "stream": [5, "x", [], {}],
    "previous_response_id": [5, "x", [], {}],
    "temperature": NO_NUMBERS,
    "seed": EXTREMES["seed"],
    "unheard_of": [5],
}


def test_extremes_of_responses_are_refused_by_name(post):
    wrong = []
    for name, value in ((name, value) for name, values in RESPONSES.items() for value in values):
        body = json.dumps({"model": "phi4-nano", "input": "x", "max_output_tokens": 1, name: value})
        status, answer = post(body, "/v1/responses")
        param = (answer.get("error") or {}).get("param") or ""
        expected = (name, {"max_output_tokens": "max_tokens"}.get(name))
        if status != 400 or param.partition("[")[0].partition(".")[0] not in expected:
            wrong.append((name, value, status, answer))
    assert wrong == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"model": "phi4-nano", "model": 5}',
    ],
)
def test_bodies_that_are_no_request_are_refused(post, body):
    status, answer = post(body)
    assert status == 400
    assert set(answer["error"]) == {"message", "type", "param", "code"}


def test_text_with_every_control_character_is_answered(post):
    text = "".join(map(chr, range(0x20))) + "\x7f\u2028\u202e\ufeff<|im_end|><think>"
    messages = [{"role": "user", "content": text}]
    status, answer = post(json.dumps({"model": "phi4-nano", "messages": messages, "max_tokens": 2}))
    assert status == 200
    assert answer["usage"]["completion_tokens"] <= 2


@pytest.mark.parametrize(
    "values",
    [
        {"model": "\ud800"},
        {"messages": [{"role": "\ud800", "content": "x"}]},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"stop": "\ud800"},
        {"regex": "\ud800"},
        {"grammar": 'root ::= "\ud800"'},
        {"user": "\ud800"},
        {"\ud800": 1},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"const": "\ud800"}}}},
    ],
)
def test_half_a_surrogate_is_no_server_error(post, values):
    asked = {"model": "phi4-nano", "messages": QUESTION, "max_tokens": 2, **values}
    status, _ = post(json.dumps(asked))
    assert status < 500
