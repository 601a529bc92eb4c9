"""Clients that send or read too slowly: the server hangs up on them, and on nobody else."""

import contextlib
import http.client
import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.served import ServedProcess

SECONDS = 0.6
"""What clients are given; the server looks twice a second."""
PATIENCE = 20
ENDLESS = {"logit_bias": {str(token): -100 for token in range(8096, 8192)}}
"""Without the control tokens of phi4-nano an answer goes on."""
STORY = {"model": "phi4-nano", "messages": [{"role": "user", "content": "Tell me a story."}]}


@pytest.fixture(scope="module")
def server(native_library):
    with ServedProcess("phi4-nano", "--client-seconds", SECONDS, "--parallel", "1", "--queue", "9") as server:
        yield server
        assert server.stop() == 0


@contextlib.contextmanager
def connection(server, receive_bytes=None):
    parts = urlsplit(server.address)
    with socket.socket() as client:
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(PATIENCE)
        client.connect((parts.hostname, parts.port))
        yield client


def head(path, length, method="POST"):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


def closed(client):
    """Wait until the server hangs up; return what it said before."""
    said = b""
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            said += part
    return said


def drip(client, data):
    """Send a byte now and then, until the server hangs up; return what it said."""
    client.settimeout(0.1)
    ends = time.monotonic() + PATIENCE
    for byte in data:
        with contextlib.suppress(TimeoutError):
            try:
                client.sendall(bytes([byte]))
                said = client.recv(65536)
                client.settimeout(PATIENCE)
                return said + closed(client)
            except ConnectionError:
                return b""
        assert time.monotonic() < ends, "nobody hung up"
    raise AssertionError("everything was sent")


def test_a_connection_that_says_nothing_ends(server):
    with connection(server) as client:
        assert closed(client) == b""


def test_a_header_that_drips_ends(server):
    with connection(server) as client:
        assert drip(client, head("/health", 0, "GET")[:-1] + b"X-More: " + b"a" * 500) == b""


def test_a_second_header_that_drips_ends(server):
    with connection(server) as client:
        client.sendall(head("/health", 0, "GET"))
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert b"200 OK" not in drip(client, b"GET /health HTTP/1.1\r\n" + b"X-More: " + b"a" * 500)


def test_a_header_of_ten_megabytes_is_not_read_to_its_end(server):
    with connection(server) as client:
        with pytest.raises(ConnectionError):
            client.sendall(b"GET /health HTTP/1.1\r\nX-Long: " + b"a" * 10_000_000)
        assert b" 200 " not in closed(client)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_a_body_that_drips_is_refused_in_the_words_of_its_dialect(server, path):
    body = json.dumps({**STORY, "max_tokens": 1}).encode()
    with connection(server) as client:
        client.sendall(head(path, len(body)))
        said = drip(client, body + b" " * 500)
    top, _, told = said.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 408")
    assert b"connection: close" in top.lower()
    error = json.loads(told)["error"]
    assert "did not come within" in (error if isinstance(error, str) else error["message"])


def test_the_rest_of_a_body_that_nobody_wants_is_not_waited_for(server):
    with connection(server) as client:
        client.sendall(head("/v1/nothing", 5000) + b"{")
        assert b"404" in closed(client)


def test_a_client_that_does_not_read_keeps_nobody_waiting_and_is_hung_up_on(server):
    """One answer at a time: who comes next is answered though the first one does not read."""
    many = {**STORY, **ENDLESS, "max_tokens": 600, "logprobs": True, "top_logprobs": 20, "stream": True}
    body = json.dumps(many).encode()
    with connection(server, receive_bytes=2048) as slow:
        slow.sendall(head("/v1/chat/completions", len(body)) + body)
        slow.recv(100)
        with connection(server) as next_one:
            short = json.dumps({**STORY, "max_tokens": 2}).encode()
            next_one.sendall(head("/v1/chat/completions", len(short)) + short)
            assert next_one.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(2 * SECONDS + 1)
        assert b"[DONE]" not in closed(slow)


def test_slow_readers_and_waiting_ones_who_do_something_are_left_alone(server):
    """An answer that takes longer than a client's time, read in small pieces, comes whole."""
    many = {**STORY, "max_tokens": 400, "logprobs": True, "top_logprobs": 20, "stream": True, "seed": 1}
    body = json.dumps(many).encode()
    with connection(server, receive_bytes=2048) as client:
        client.sendall(head("/v1/chat/completions", len(body)) + body)
        said, began = b"", time.monotonic()
        while b"data: [DONE]" not in said[-100:]:
            said += client.recv(65536)
            if time.monotonic() - began < 3 * SECONDS:
                time.sleep(0.01)  # reading slowly is what is tested
    assert said.endswith(b"0\r\n\r\n") or b"data: [DONE]" in said


def test_who_waits_long_for_a_whole_answer_gets_it(server):
    took, tokens = 0.0, 200
    while took <= SECONDS:  # as many as this machine needs longer for
        tokens *= 2
        body = json.dumps({**STORY, **ENDLESS, "max_tokens": tokens}).encode()
        with connection(server) as client:
            began = time.monotonic()
            client.sendall(head("/v1/chat/completions", len(body)) + body)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            assert json.loads(answer.read())["usage"]["completion_tokens"] == tokens
        took = time.monotonic() - began


def test_a_rest_between_two_requests_is_no_slowness(server):
    parts = urlsplit(server.address)
    client = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE)
    with contextlib.closing(client):
        client.request("GET", "/health")
        assert client.getresponse().read()
        used = client.sock
        time.sleep(2 * SECONDS)  # uvicorn ends the rest after five seconds
        client.request("GET", "/health")
        assert client.getresponse().read()
        assert client.sock is used
