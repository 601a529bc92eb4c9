"""Values that cannot be, of every option and field of Ollama's interface: refused in its shape, by name."""

import http.client
import json
import urllib.parse

import pytest

from phi4local.server.ollama.options import COUNTS, FLAGS, KNOWN

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
NAN, INFINITE = float("nan"), float("inf")
NO_NUMBERS = ["x", [], {}, True, NAN, INFINITE, -1e9, 1e9, 10**400]
NO_COUNTS = ["x", [], {}, True, 0.5, NAN, INFINITE, -9, 10**400]
NO_SWITCHES = ["x", [], {}, 1, 0.5]
NO_TEXTS = [5, {}, True, [5], [""], [[]], [None]]
OPTIONS = {
    **dict.fromkeys((*COUNTS, "num_predict", "repeat_last_n", "top_k"), NO_COUNTS),
    **dict.fromkeys(FLAGS, NO_SWITCHES),
    "num_ctx": [*NO_COUNTS, 0, -1, 10**7],
    "seed": ["x", [], {}, True, 0.5, NAN, INFINITE],
    "tfs_z": ["x", [], {}, True, NAN, -1],
    "stop": [*NO_TEXTS, ""],
    "dry_sequence_breakers": [*NO_TEXTS, "", ["x"] * 33],
    "logit_bias": ["x", [5], 5, {"x": 1}, {"-1": 1}, {"5": 1e9}, {"5": "x"}, {"9" * 30: 1}],
}
UNKNOWN = {"json_schema": [{}], "grammar": ["x"], "logprobs": [1], "": [1], "\ud800": [1], "Temperature": [1]}
FIELDS = {
    "model": [5, [], {}, None, True, ""],
    "messages": [5, {}, True, "x", [5], [None], [{}], [[]]],
    "options": [5, [], True, "x"],
    "stream": [5, [], {}, "x"],
    "format": [5, [], True, "x"],
    "think": [5, [], {}, "x", True, "high"],
    "keep_alive": [[], {}, True, "x", "", "5 m", NAN, INFINITE],
    "logprobs": [5, [], {}, "x"],
    "top_logprobs": [-1, 21, 10**400, 0.5, "x", [], {}, True],
    "tools": [5, {}, True, "x"],
}


@pytest.fixture(scope="module")
def post(served):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(served.address).netloc, timeout=60)

    def send(body, path="/api/chat"):
        connection.request("POST", path, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    yield send
    connection.close()


def wrong_answers(post, asked):
    """Send requests that cannot be; return those that were not refused by name, and how many there were."""
    wrong, count = [], 0
    for name, body in asked:
        status, answer = post(json.dumps(body))
        count += 1
        shown = name.encode("utf-8", "backslashreplace").decode()
        if status != 400 or list(answer) != ["error"] or f"`{shown}" not in answer["error"]:
            wrong.append((name, body, status, answer))
    return wrong, count


def test_extremes_of_options_are_refused_by_name(post):
    cases = {**dict.fromkeys(KNOWN, NO_NUMBERS), **OPTIONS, **UNKNOWN}
    plain = {"model": "phi4-nano", "messages": QUESTION, "stream": False}
    asked = [
        (f"options.{name}", {**plain, "options": {"num_predict": 1, name: value}})
        for name, values in cases.items()
        for value in values
    ]
    wrong, count = wrong_answers(post, asked)
    assert wrong == []
    assert count >= 300


def test_extremes_of_fields_are_refused_by_name(post):
    plain = {"model": "phi4-nano", "messages": QUESTION, "stream": False, "options": {"num_predict": 1}}
    asked = [
        (name, {**plain, "logprobs": True, name: value})
        for name, values in FIELDS.items()
        for value in values
    ]
    wrong, count = wrong_answers(post, asked)
    assert wrong == []
    assert count >= 50


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/generate", {"prompt": 5}, "prompt"),
        ("/api/generate", {"prompt": "x", "raw": "yes"}, "raw"),
        ("/api/generate", {"prompt": "x", "context": ["x"]}, "context[0]"),
        ("/api/embed", {"input": 5}, "input"),
        ("/api/embed", {"input": ["x", ""]}, "input[1]"),
        ("/api/embed", {"input": "x", "dimensions": 3}, "dimensions"),
        ("/api/embed", {"input": "x", "options": {"wizard": 1}}, "options.wizard"),
        ("/api/embed", {"input": ["x"] * 2049}, "input"),
        ("/api/embeddings", {"prompt": ["x"]}, "prompt"),
        ("/api/show", {"verbose": "very"}, "verbose"),
        ("/api/show", {"name": "another"}, "name"),
        ("/api/pull", {"insecure": True}, "insecure"),
        ("/api/create", {}, "from"),
        ("/api/create", {"from": "phi4-nano", "messages": [{"role": "wizard"}]}, "messages[0].role"),
    ],
)
def test_extremes_elsewhere_are_refused_by_name(post, path, body, field):
    status, answer = post(json.dumps({"model": "phi4-nano", **body}), path)
    assert status == 400
    assert f"`{field}`" in answer["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"null", b"[]", b'"text"', b"[" * 100_000])
@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/pull", "/api/create"])
def test_bodies_that_are_no_request_are_refused(post, path, body):
    status, answer = post(body, path)
    assert status == 400
    assert list(answer) == ["error"]


@pytest.mark.parametrize(
    "values",
    [
        {"model": "\ud800"},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"options": {"stop": ["\ud800"]}},
        {"format": {"const": "\ud800"}},
        {"keep_alive": "\ud800"},
        {"\ud800": 1},
    ],
)
def test_half_a_surrogate_is_no_server_error(post, values):
    body = {
        "model": "phi4-nano",
        "messages": QUESTION,
        "stream": False,
        "options": {"num_predict": 2},
        **values,
    }
    assert post(json.dumps(body))[0] < 500


@pytest.mark.parametrize(
    "values",
    [
        {"system": "\ud800"},
        {"license": ["\ud800"]},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"parameters": {"stop": ["\ud800"]}},
        {"quantize": "Q99"},
        {"quantize": "\ud800"},
        {"from": "phi-4"},
    ],
)
def test_model_that_cannot_be_made_is_refused(post, values):
    body = {"model": "extreme", "from": "phi4-nano", "stream": False, **values}
    status, answer = post(json.dumps(body), "/api/create")
    assert 400 <= status < 500
    assert list(answer) == ["error"]
