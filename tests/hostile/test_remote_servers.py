"""Servers that break, lie, wait or ask for too much: a typed error with a hint, and nothing given away."""

import json
import shutil
import socket
import ssl
import subprocess
import threading
import tracemalloc

import pytest

import phi4local
from phi4local.engine import Text
from phi4local.errors import ContextTooLongError, InvalidSettingError, RemoteError, UnknownModelError
from phi4local.runtime.remote import connection
from phi4local.runtime.remote.address import parse_address
from phi4local.runtime.remote.open import open_remote, open_server
from phi4local.runtime.remote.own_model import OwnModel
from tests.hostile.scripted_server import DONE, RESET, STREAM, WAIT, ScriptedServer, chunk, response

KEY = "sk-nobody-may-see-this"


@pytest.fixture
def serve():
    """`serve(script)`: a server that answers every question with the script."""
    servers = []

    def start(script=(), **options):
        servers.append(ScriptedServer(script, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def failure(server, ask=lambda model: model.chat("Hello").result(), **options):
    """Return the error of a question, which must come with a hint and without the key."""
    with open_remote(server.address, api_key=KEY, **options) as model, pytest.raises(RemoteError) as caught:
        ask(model)
    assert caught.value.hint
    assert KEY not in f"{caught.value} {caught.value.hint}"
    assert len(str(caught.value)) < 600
    return caught.value


def test_what_is_sent_is_what_servers_expect(serve):
    server = serve([STREAM, chunk("Hi"), chunk(finish_reason="stop"), DONE])
    settings = phi4local.SamplingSettings(penalty_last_tokens=8, logit_bias={7: -100}, stop=("END",), seed=3)
    with phi4local.load(server.address, api_key=KEY) as model:
        assert model.chat("Hello", sampling=settings, max_tokens=5).text == "Hi"
    (models, nothing), (head, body) = server.requests
    assert models.startswith("GET /v1/models HTTP/1.1\r\n")
    assert nothing == ""
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"Authorization: Bearer {KEY}" in head
    assert json.loads(body) == {
        "model": "nano",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
        "repeat_last_n": 8,
        "logit_bias": {"7": -100.0},
        "stop": ["END"],
        "seed": 3,
    }


def test_counts_come_from_the_server_and_pieces_are_counted_without(serve):
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 6}}
    told = json.dumps({"choices": [], "usage": usage}).encode()
    ends = [chunk("a"), chunk("b"), chunk(finish_reason="length")]
    server = serve([STREAM, *ends, b"data: " + told + b"\r\n\r\n", DONE])
    with open_remote(server.address) as model:
        finished = model.chat("Hello").result().finished
        assert finished.reason == "length"
        counts = finished.usage
        assert (counts.prompt_tokens, counts.reused_tokens, counts.generated_tokens) == (9, 6, 4)
    silent = serve([STREAM, b": a comment\n", b"event: message\n", *ends])  # and no [DONE]
    with open_remote(silent.address) as model:
        assert model.chat("Hello").result().finished.usage.generated_tokens == 2


def test_an_answer_in_one_piece_is_taken_as_well(serve):
    whole = {"choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}
    server = serve([response(json.dumps(whole, indent=1).encode())])
    with open_remote(server.address) as model:
        assert model.chat("Hello").text == "Hi"
    server = serve([response(b'{"choices": [{"text": " there", "finish_reason": "length"}]}')])
    with open_remote(server.address) as model:
        assert model.generate("Hi").text == " there"


@pytest.mark.parametrize(
    "ending",
    [
        [],
        [RESET],
        [b'data: {"choices": [{"del'],
        [b"data: {]}\n\n"],
        [b"data: [1, 2]\n\n"],
        [b'data: {"choices": {"a": 1}}\n\n'],
        [b'data: {"choices": [7]}\n\n'],
        [b'data: {"choices": [{"delta": {"content": ["a"]}}]}\n\n'],
        [b"data: " + b"[" * 200_000 + b"\n\n"],
        [b"\xff\xfe\x00\n\n"],
    ],
    ids=[
        "cut",
        "reset",
        "half a line",
        "no JSON",
        "a list",
        "an object",
        "a number",
        "no text",
        "deep",
        "bytes",
    ],
)
def test_an_answer_that_breaks_keeps_what_came_and_says_so(serve, ending):
    server = serve([STREAM, chunk("Once upon"), *ending])
    with open_remote(server.address) as model:
        texts = []
        with pytest.raises(RemoteError) as caught:
            texts.extend(model.stream("Hello"))
    assert texts == ["Once upon"] or RESET in ending  # a reset may overtake the text
    assert caught.value.hint


@pytest.mark.parametrize(
    "usage", [7, [], {"prompt_tokens": "many", "prompt_tokens_details": 3}, {"completion_tokens": -1}]
)
def test_counts_that_make_no_sense_are_left_out(serve, usage):
    told = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    server = serve([STREAM, chunk("a"), chunk(finish_reason="stop"), told, DONE])
    with open_remote(server.address) as model:
        assert model.chat("Hello").result().finished.usage.generated_tokens == 1


def test_an_error_in_the_middle_of_the_answer_is_told_in_the_servers_words(serve):
    words = "out of\x1b[31m memory " + KEY + " " + "x" * 5000
    server = serve(
        [STREAM, chunk("a"), b"data: " + json.dumps({"error": {"message": words}}).encode() + b"\n\n"]
    )
    error = failure(server)
    assert "out of" in str(error)
    assert "\x1b" not in str(error)


def test_a_line_without_an_end_is_not_collected(serve):
    server = serve([STREAM, b"data: ", *[b"x" * 2**16] * 512])
    tracemalloc.start()
    try:
        error = failure(server)
        assert tracemalloc.get_traced_memory()[1] < 8 * connection.MAX_LINE_BYTES
    finally:
        tracemalloc.stop()
    assert "without an end" in str(error)


def test_an_answer_without_an_end_is_ended(serve, monkeypatch):
    monkeypatch.setattr(connection, "MAX_STREAM_BYTES", 100_000)
    assert "without an end" in str(failure(serve([STREAM, *[chunk("more")] * 4000])))


def test_a_list_of_models_without_an_end_is_ended(serve, monkeypatch):
    monkeypatch.setattr(connection, "MAX_BODY_BYTES", 100_000)
    server = serve(models=response(b'{"data": "' + b"x" * 200_000 + b'"}'))
    with pytest.raises(RemoteError, match="100,000 bytes"):
        open_remote(server.address)


@pytest.mark.parametrize(
    "script", [[WAIT], [STREAM, WAIT], [STREAM, chunk("a"), WAIT], [b"HTTP/1.1 2", WAIT]]
)
def test_a_server_that_says_nothing_more_is_left(serve, script):
    server = serve(script)
    error = failure(server, silence_seconds=0.2)
    assert "says nothing" in str(error)
    assert server.left.wait(60)


@pytest.mark.parametrize("script", [[WAIT], [STREAM, WAIT], [STREAM, chunk("a"), WAIT]])
def test_cancelling_hangs_up(serve, script):
    server = serve(script)
    with open_remote(server.address) as model:
        generation = model.chat("Hello")
        if len(script) == 3:
            assert isinstance(next(iter(generation)), Text)
        generation.cancel()
        assert generation.result().finished.reason == "cancelled"
        # Cancelled before all of it was sent, the request never reached the script.
        assert len(server.requests) == 1 or server.left.wait(60)


def test_a_model_that_is_closed_hangs_up(serve):
    server = serve([STREAM, chunk("a"), WAIT])
    with open_remote(server.address) as model:
        running = [model.chat("Hello") for _ in range(3)]
        for generation in running:
            next(iter(generation))
    assert [generation.result().finished.reason for generation in running] == ["cancelled"] * 3


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"]
)
def test_a_redirect_is_told_and_not_followed(serve, status):
    elsewhere = serve([STREAM, chunk("stolen"), DONE])
    server = serve([response(status=status, Location=f"{elsewhere.address}/v1/chat/completions")])
    error = failure(server)
    assert elsewhere.address in str(error)
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (400, "words"),
        (401, "PHI4LOCAL_API_KEY"),
        (403, "key"),
        (404, "path"),
        (413, "shorten"),
        (418, "log"),
        (429, "wait"),
        (500, "log"),
        (503, "log"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [b'{"error": {"message": "because %s"}}', b'{"detail": "because %s"}', b"because %s", b"\xff\x00because"],
)
def test_a_refusal_carries_its_status_the_servers_words_and_a_hint(serve, status, hint, body):
    server = serve([response(body.replace(b"%s", KEY.encode()), status=f"{status} No")])
    error = failure(server)
    assert error.status == status
    assert "because" in str(error)
    assert hint in error.hint


@pytest.mark.parametrize(
    "models",
    [
        b"",
        b"\x00" * 1000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        response(b"<html>", kind="text/html"),
        response(b"[]"),
        response(b'{"data": []}'),
        response(b'{"data": 7}'),
        response(b'{"data": [7, {"id": 3}]}'),
        response(b"{}", Content_Length=10),
        response(b"zz\r\n{}", Transfer_Encoding="chunked"),
        response(b"[" * 100_000),
    ],
)
def test_what_is_no_such_server_is_refused_at_once(serve, models):
    with pytest.raises(RemoteError) as caught:
        phi4local.load(serve(models=models).address)
    assert caught.value.hint


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data": 7}',
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 0, "embedding": [1, 2]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [NaN, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}, {"index": "1", "embedding": [1, 2]}]}',
        b'{"data": [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": "AAAA"}]}',
    ],
)
def test_vectors_that_do_not_fit_are_refused(serve, body):
    failure(serve([response(body)]), lambda model: model.embed(["a", "b"]))


def test_vectors_come_in_the_order_of_the_texts(serve):
    body = b'{"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 4]}]}'
    with open_remote(serve([response(body)]).address) as model:
        assert model.embed(["a", "b"]).round(6).tolist() == [[0.6000000238418579, 0.800000011920929], [0, 1]]


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(RemoteError, match="nobody listens") as caught:
        phi4local.load(f"http://127.0.0.1:{port}")
    assert str(port) in str(caught.value)


def test_https_to_a_server_without_it_is_an_error(serve):
    server = serve(models=b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(RemoteError, match="broke the connection"):
        phi4local.load(server.address.replace("http", "https"))


def test_several_models_have_to_be_told_apart(serve):
    server = serve(models=response(b'{"data": [{"id": "phi4"}, {"id": "phi4:mini"}]}'))
    with pytest.raises(UnknownModelError) as caught:
        phi4local.load(server.address)
    assert "phi4, phi4:mini" in caught.value.hint
    assert phi4local.load(f"{server.address}#phi4:mini").name == "phi4:mini"


def test_a_server_without_a_list_needs_the_name(serve):
    server = serve(models=response(status="404 Not Found"))
    with pytest.raises(RemoteError):
        phi4local.load(server.address)
    assert phi4local.load(f"{server.address}/api#phi4").name == "phi4"


@pytest.mark.parametrize("key", ["a\r\nX-Other: b", "a b\n", "schlüssel", "\x00"])
def test_a_key_that_is_no_key_is_refused_and_not_shown(serve, key):
    server = serve()
    with pytest.raises(InvalidSettingError, match="api_key") as caught:
        phi4local.load(server.address, api_key=key)
    assert key not in str(caught.value)
    assert server.requests == []


def test_a_key_is_for_servers_only():
    with pytest.raises(InvalidSettingError, match="api_key"):
        phi4local.load("phi4-nano", api_key=KEY)


@pytest.mark.parametrize(
    "address",
    [
        "http://",
        "http://:80",
        "http://user:secret@127.0.0.1",
        "http://secret@127.0.0.1",
        "http://127.0.0.1/v1?key=secret",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:x",
        "http://[::1",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX: secret",
        "http://exämple/v1",
        "http://127.0.0.1/é",
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(address):
    with pytest.raises(InvalidSettingError) as caught:
        phi4local.load(address)
    assert "secret" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(
    ("address", "shown", "local"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1", True),
        ("HTTP://LocalHost/", "http://localhost:80/v1", True),
        ("https://example.org/api/v3/#phi4", "https://example.org:443/api/v3", False),
        ("http://[::1]:1234/v1", "http://[::1]:1234/v1", True),
        ("http://192.168.1.4:11434", "http://192.168.1.4:11434/v1", False),
    ],
)
def test_addresses(address, shown, local):
    parsed = parse_address(address)
    assert str(parsed) == shown
    assert parsed.on_this_machine is local


def test_threads_end_with_their_answers(serve):
    server = serve([STREAM, chunk("Hi"), chunk(finish_reason="stop"), DONE])
    before = set(threading.enumerate())
    with open_remote(server.address) as model:
        for _ in range(5):
            model.chat("Hello").result()
    started = [thread for thread in set(threading.enumerate()) - before if thread.name == "phi4local-remote"]
    for thread in started:
        thread.join(60)
    assert not any(thread.is_alive() for thread in started)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_nobody_vouches_for_is_refused_before_the_key_is_sent(tmp_path):
    files = [str(tmp_path / name) for name in ("key.pem", "certificate.pem")]
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run([*make, "-keyout", files[0], "-out", files[1], *subject], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1], files[0])
    received = []

    def serve_once(listener):
        connection, _ = listener.accept()
        with connection:
            try:
                with context.wrap_socket(connection, server_side=True) as secure:
                    received.append(secure.recv(4096))
            except OSError:
                received.append(b"")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_once, args=(listener,))
        thread.start()
        with pytest.raises(RemoteError, match="certificate verify failed"):
            phi4local.load(f"https://127.0.0.1:{listener.getsockname()[1]}", api_key=KEY)
        thread.join()
    assert received == [b""]


ROW = {
    "name": "nano",
    "path": "",
    "file_bytes": 1,
    "loaded_seconds": 1.0,
    "quantization": "Q8_0",
    "size_bytes": 1,
    "context_tokens": 64,
    "trained_context_tokens": 64,
    "thinking": False,
    "default_stop": [],
    "settings": {},
    "adapters": [],
    "users": 0,
    "seconds_left": None,
}
END = {
    "reason": "stop",
    "usage": {"prompt_tokens": 1, "reused_tokens": 0, "generated_tokens": 1},
    "timings": {"prompt_seconds": 0.1, "generation_seconds": 0.1},
    "stop_text": None,
}


def claiming(rows, **more):
    """Return the list of models and the state of a server that claims to be one of this program."""
    listed = {"data": [{"id": "nano", "owned_by": "phi4local"}]}
    return response(json.dumps({**listed, "protocol": 1, "guarded": False, "models": rows, **more}).encode())


def answering(*lines):
    """Return a body that counts tokens when it is read as a whole, and answers when it is read by lines."""
    return [response("\n".join(json.dumps(line) for line in lines).encode(), kind="application/x-ndjson")]


def test_an_answer_of_the_own_kind_is_read(serve):
    server = serve(answering({"count": 0, "finished": END}), models=claiming([ROW]))
    with open_server(server.address) as model:
        assert isinstance(model, OwnModel)
        assert model.chat("Hello").result().finished.usage.prompt_tokens == 1


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        ("text", {}),
        ([1], {}),
        ([{}], {}),
        (None, {}),
        ([{**ROW, "path": 7}], {}),
        ([{**ROW, "context_tokens": "many"}], {}),
        ([{**ROW, "adapters": {"a": 1}}], {}),
        ([{**ROW, "settings": []}], {}),
        ([ROW], {"protocol": 2}),
    ],
)
def test_a_state_of_another_shape_is_that_of_another_program(serve, rows, more):
    server = serve([STREAM, chunk("Hi"), chunk(finish_reason="stop"), DONE], models=claiming(rows, **more))
    with open_server(server.address) as model:
        assert not isinstance(model, OwnModel)
        assert model.chat("Hello").text == "Hi"


@pytest.mark.parametrize(
    "line",
    [
        {"text": 7, "ids": []},
        {"text": "a", "ids": ["b"]},
        {"text": "a"},
        {"text": "a", "ids": [], "logprobs": [[1]]},
        {"finished": {}},
        {"finished": []},
        {"finished": {**END, "reason": "boom"}},
        {"finished": {**END, "stop_text": 1}},
        {"finished": {**END, "usage": {"prompt_tokens": "x"}}},
        {"finished": {**END, "usage": {**END["usage"], "prompt_tokens": -1}}},
        {"finished": {**END, "usage": {**END["usage"], "prompt_tokens": 10**400}}},
        {"finished": {**END, "timings": {"prompt_seconds": float("nan"), "generation_seconds": 1}}},
        {"finished": {**END, "usage": {**END["usage"], "__class__": 1}}},
        {"shifted": {"turns": 1}},
        {"error": {"kind": "SystemExit", "message": "x"}},
        {"error": {"kind": "Phi4LocalError", "message": 7}},
        {"error": {}},
        {},
    ],
    ids=lambda line: json.dumps(line)[:50],
)
def test_lines_that_are_none_are_the_servers_fault(serve, line):
    server = serve(answering({"count": 0, **line}), models=claiming([ROW]))
    with pytest.raises(RemoteError), open_server(server.address, api_key=KEY) as model:
        model.chat("Hello").result()


def test_an_error_from_elsewhere_is_short_and_changes_nothing_of_its_class(serve):
    facts = {
        "prompt_tokens": 9,
        "hint": "x",
        "args": "y",
        "exit_code": 0,
        "__class__": "z",
        "with_traceback": 1,
    }
    told = {"kind": "ContextTooLongError", "message": "m" * 10**5, "hint": "h" * 10**5, "facts": facts}
    server = serve(answering({"error": told}), models=claiming([ROW]))
    with pytest.raises(ContextTooLongError) as caught:
        open_server(server.address)
    error = caught.value
    assert (len(str(error)), len(error.hint), error.prompt_tokens, error.exit_code) == (1000, 1000, 9, 1)
    assert callable(error.with_traceback)


def test_thoughts_of_a_server_stand_where_a_model_here_writes_them(serve):
    parts = [
        {"reasoning_content": "Two "},
        {"reasoning_content": "and two"},
        {"content": "Four"},
        {"content": "."},
    ]
    lines = [STREAM, *(chunk(delta=part) for part in parts), chunk(finish_reason="stop"), DONE]
    with open_remote(serve(lines).address) as model:
        assert model.chat("Hello").text == "<think>Two and two</think>Four."
