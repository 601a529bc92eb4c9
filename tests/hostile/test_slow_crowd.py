"""Clients that send byte by byte, that do not read, or send gigabytes: the others are answered as before."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import statistics
import threading
import time
from urllib.parse import urlsplit

import pytest

from tests.served import ServedProcess

pytestmark = pytest.mark.usefixtures("native_library")
CHAT = {
    "model": "phi4-nano",
    "messages": [{"role": "user", "content": "What is 3 plus 4?"}],
    "max_tokens": 24,
    "temperature": 0,
}
TALE = {**CHAT, "max_tokens": 1500, "stream": True, "logprobs": True, "top_logprobs": 20}
TALE["logit_bias"] = {str(token): -100 for token in range(8096, 8192)}
SLACK_SECONDS = 0.02
"""What a busy machine may add to a question of some milliseconds."""


@pytest.fixture
def server():
    with ServedProcess("phi4-nano", "--threads", "1", "--client-seconds", "2") as server:
        yield server
        assert server.stop() == 0, server.lines


class Crowd:
    """Slow and greedy clients; each that is hung up on comes again, until `close`."""

    def __init__(self, server, senders):
        self.place = urlsplit(server.address)
        self.ended = 0
        self.refused = 0
        self._stop = threading.Event()
        work = [lambda: self._drip(senders), self._read_nothing, self._send_a_gigabyte]
        self._threads = [threading.Thread(target=each) for each in work]
        for thread in self._threads:
            thread.start()

    def close(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _connect(self, receive_bytes=None):
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(60)
        connection.connect((self.place.hostname, self.place.port))
        return connection

    def _head(self, more):
        return f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.place.netloc}\r\n{more}\r\n".encode()

    def _drip(self, senders):
        """Send a byte of a header or of a body to each connection, five times a second."""
        choose = random.Random(7)
        begins = (b"", self._head("").removesuffix(b"\r\n"), self._head("Content-Length: 9000\r\n"))
        with contextlib.ExitStack() as kept:
            connections = [None] * senders
            while not self._stop.wait(0.2):
                for place in range(senders):
                    try:
                        if connections[place] is None:
                            connections[place] = kept.enter_context(self._connect())
                            connections[place].sendall(choose.choice(begins))
                        connections[place].send(b"x")
                    except OSError:
                        self.ended += 1
                        connections[place].close()
                        connections[place] = None

    def _read_nothing(self):
        body = json.dumps(TALE).encode()
        while not self._stop.is_set():
            with self._connect(4096) as connection:
                connection.sendall(self._head(f"Content-Length: {len(body)}\r\n") + body)
                self._stop.wait(4)

    def _send_a_gigabyte(self):
        piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
        for header in ("Content-Length: 1000000000\r\n", "Transfer-Encoding: chunked\r\n"):
            with self._connect() as connection:
                connection.sendall(self._head(header))
                with contextlib.suppress(OSError):  # it hangs up where the limit is
                    for _ in range(1_000_000_000 // len(piece)):
                        connection.sendall(piece)
                    raise AssertionError("a gigabyte was taken")
                self.refused += 1


def seconds_of_answers(server, count):
    place, found = urlsplit(server.address), []
    for _ in range(count):
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
        started = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(CHAT))
        answer = json.loads(connection.getresponse().read())
        found.append(time.monotonic() - started)
        connection.close()
        assert answer["choices"][0]["message"]["content"] == "3 plus 4 is 7."
    return found


@pytest.mark.parametrize(("senders", "count"), [(30, 15), pytest.param(200, 500, marks=pytest.mark.full)])
@pytest.mark.timeout(600)
def test_slow_and_greedy_clients_do_not_slow_the_others(server, senders, count):
    before = seconds_of_answers(server, count)
    with contextlib.closing(Crowd(server, senders)) as crowd:
        during = seconds_of_answers(server, count)
        while crowd.ended < senders or crowd.refused < 2:
            during += seconds_of_answers(server, 1)
    then, now = statistics.median(before), statistics.median(during)
    if count > 100:  # a few answers on a busy machine measure the machine
        assert now <= 2 * then + SLACK_SECONDS, (then, now)
