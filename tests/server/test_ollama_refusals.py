"""What this dialect refuses: in Ollama's shape, with the status and the field's name."""

import json
import math
import urllib.error
import urllib.request

import ollama
import pytest

from phi4local.errors import UnsupportedFieldError
from phi4local.server.ollama.durations import FOREVER, keep_alive_seconds, moment

QUESTION = [{"role": "user", "content": "What is 3 plus 4?"}]
PICTURE = "iVBORw0KGgo="


@pytest.fixture(scope="module")
def client(served):
    with ollama.Client(served.address) as made:
        yield made


def refused(served, path, body, method="POST"):
    """Send a body that must be refused; return the status and the text."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    asked = urllib.request.Request(f"{served.address}{path}", data, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked)
    with caught.value as answer:
        shape = json.load(answer)
        assert list(shape) == ["error"]
        return answer.code, shape["error"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"messages": [{**QUESTION[0], "images": [PICTURE]}]}, "messages[0].images"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"options": {"num_ctx": 1_000_000}}, "options.num_ctx"),
        ({"options": {"temprature": 1}}, "options.temprature"),
        ({"think": True}, "think"),
        ({"keep_alive": "5 parsecs"}, "keep_alive"),
        ({"format": "xml"}, "format"),
        ({"format": {"type": "nothing"}}, "json_schema"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"wizard": 1}, "wizard"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_chat_field_that_cannot_be_is_named(served, more, field, stream):
    body = {"model": "phi4-nano", "messages": QUESTION, "stream": stream, **more}
    status, text = refused(served, "/api/chat", body)
    assert status == 400
    assert f"`{field}`" in text


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"images": [PICTURE]}, "images"),
        ({"suffix": "}"}, "suffix"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"context": [1, 2]}, "context"),
        ({"width": 512}, "width"),
        ({"raw": True, "system": "x"}, "system"),
    ],
)
def test_generate_field_that_cannot_be_is_named(served, more, field):
    status, text = refused(served, "/api/generate", {"model": "phi4-nano", "prompt": "Hello", **more})
    assert status == 400
    assert f"`{field}`" in text


def test_errors_are_the_clients_own(client):
    for call in (
        lambda: client.chat("gpt-oss", QUESTION),
        lambda: list(client.chat("gpt-oss", QUESTION, stream=True)),
        lambda: client.generate("gpt-oss", "Hello"),
        lambda: client.embed("gpt-oss", "Hello"),
        lambda: client.show("gpt-oss"),
    ):
        with pytest.raises(ollama.ResponseError, match="gpt-oss") as caught:
            call()
        assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match=r"`options\.top_p` is 2") as caught:
        client.chat("phi4-nano", QUESTION, options={"top_p": 2})
    assert caught.value.status_code == 400


@pytest.mark.parametrize("name", ["./models/phi4-nano", "/etc/passwd", "http://127.0.0.1:1/v1", "~/x.gguf"])
def test_client_cannot_open_files_or_addresses(client, name):
    for call in (
        lambda: client.chat(name, QUESTION),
        lambda: client.show(name),
        lambda: client.create("mine", from_=name),
    ):
        with pytest.raises(ollama.ResponseError) as caught:
            call()
        assert caught.value.status_code == 404


def test_wrong_body_address_and_method_have_ollamas_shape(served):
    assert refused(served, "/api/chat", b"{")[0] == 400
    assert refused(served, "/api/nothing", {})[0] == 404
    assert refused(served, "/api/chat", {}, method="DELETE")[0] == 405
    assert refused(served, "/api/chat", {"messages": QUESTION}) == (400, "`model`: Field required")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        (0, 0),
        (300, 300),
        (1.5, 1.5),
        (-1, FOREVER),
        ("5m", 300),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("300ms", 0.3),
        ("2us", 2e-6),
        ("-1m", FOREVER),
        ("-1", FOREVER),
        ("0", 0),
        ("24h", 86400),
        ("+5s", 5),
    ],
)
def test_keep_alive_is_a_duration_of_go_or_seconds(given, seconds):
    assert keep_alive_seconds(given) == (pytest.approx(seconds) if seconds else seconds)


@pytest.mark.parametrize(
    "given", ["", "m", "5 m", "1d", "--1", "5m!", "1e3s", "9" * 400, "٣s", math.nan, math.inf]
)
def test_keep_alive_that_is_no_duration_is_refused(given):
    with pytest.raises(UnsupportedFieldError, match="keep_alive"):
        keep_alive_seconds(given)


def test_moment_is_rfc_3339():
    assert moment(0) == "1970-01-01T00:00:00.000000Z"
