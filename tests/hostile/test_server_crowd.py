"""A real server in a crowd: clients that hang up anywhere, and an engine that is killed while it answers."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from phi4local.server.app import MOST_THREADS
from tests.served import ServedProcess

pytestmark = [
    pytest.mark.usefixtures("native_library"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc"),
]
SLACK = 8
"""File descriptors and threads that come and go."""


@pytest.fixture
def server():
    with ServedProcess("phi4-nano", "--threads", "1") as server:
        yield server
        assert server.stop() == 0, server.lines


def body(stream, tokens=24):
    talk = [{"role": "user", "content": "What is 3 plus 4?"}]
    asked = {"model": "phi4-nano", "messages": talk, "max_tokens": tokens, "stream": stream, "temperature": 0}
    return json.dumps(asked).encode()


def send(server, *, stream, leave_after=None):
    """Ask, and read all of it, or so many bytes and then hang up."""
    place = urlsplit(server.address)
    sent = body(stream)
    with socket.create_connection((place.hostname, place.port), timeout=120) as connection:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
        whole = f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent
        if leave_after is not None and leave_after < 0:  # in the middle of asking
            connection.sendall(whole[:leave_after])
            return b""
        connection.sendall(whole)
        got = b""
        while leave_after is None or len(got) < leave_after:
            piece = connection.recv(65536 if leave_after is None else min(65536, leave_after - len(got)))
            if not piece:
                break
            got += piece
        return got


def ask(server):
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=120)
    connection.request("POST", "/v1/chat/completions", body(stream=False))
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


def running(server):
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=120)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return float(values["phi4local_requests_running"]) - 1, float(values["phi4local_models_in_use"])


def seconds_until_idle(server):
    """Wait until nobody is in work any more, and return how long that took."""
    began = time.monotonic()
    while running(server) != (0, 0):
        assert time.monotonic() < began + 30, "somebody stays in work"
        time.sleep(0.02)
    return time.monotonic() - began


def resources(server):
    place = Path("/proc") / str(server.process.pid)
    return len(list((place / "fd").iterdir())), len(list((place / "task").iterdir()))


@pytest.mark.parametrize(
    ("clients", "rounds", "after", "most_seconds"),
    [(20, 3, 20, 30), pytest.param(200, 5, 100, 1, marks=pytest.mark.full)],
)
@pytest.mark.timeout(1200)
def test_clients_that_hang_up_at_a_random_byte_leave_nothing_behind(
    server, clients, rounds, after, most_seconds
):
    choose, lock = random.Random(7), threading.Lock()

    def client(number):
        for round_ in range(rounds):
            with lock:
                leave = choose.choice([None, choose.randrange(-100, 1500)])
            got = send(server, stream=(number + round_) % 2 == 0, leave_after=leave)
            if leave is None:
                assert got.startswith((b"HTTP/1.1 200", b"HTTP/1.1 429")), got[:200]

    assert ask(server)[0] == 200
    descriptors, threads = resources(server)
    free = []
    with ThreadPoolExecutor(clients) as crowd:
        for _ in range(2):
            list(crowd.map(client, range(clients)))
            free.append(seconds_until_idle(server))
    found = resources(server)
    assert found[0] <= descriptors + SLACK
    # The pool keeps as many as were busy at once: how many that is differs from crowd to crowd.
    assert found[1] <= threads + min(MOST_THREADS, clients) + SLACK
    assert max(free) <= most_seconds, free
    answers = [ask(server) for _ in range(after)]
    assert [status for status, _ in answers] == [200] * after
    texts = {each["choices"][0]["message"]["content"] for _, each in answers}
    assert texts == {"3 plus 4 is 7."}


def engine_of(server):
    """Return the process that computes: the server's newest child, or `None` when there is none just now."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, NotADirectoryError):
            continue
        if entry.name.isdigit() and fields[1] == str(server.process.pid) and fields[0] != "Z":
            found.append(int(entry.name))
    return max(found, default=None)


@pytest.mark.parametrize("deaths", [3, pytest.param(50, marks=pytest.mark.full)])
@pytest.mark.timeout(1200)
def test_an_engine_that_is_killed_is_an_error_in_the_clients_protocol(server, deaths):
    stop, seen, wrong = threading.Event(), set(), []

    def client(number):
        while not stop.is_set():
            got = send(server, stream=number % 2 == 0)
            head, _, rest = got.partition(b"\r\n\r\n")
            failed = b'"error"' in rest
            if not failed and not (head.startswith(b"HTTP/1.1 200") and b'"finish_reason":"stop"' in rest):
                wrong.append(got)
            seen.add(failed)

    with ThreadPoolExecutor(4) as crowd:
        jobs = [crowd.submit(client, number) for number in range(4)]
        killed = 0
        while killed < deaths:
            time.sleep(0.3)  # some answers are under way
            engine = engine_of(server)
            if engine is not None:
                os.kill(engine, signal.SIGKILL)
                killed += 1
                while engine_of(server) in (engine, None) and ask(server)[0] not in (200, 500, 503):
                    time.sleep(0.05)
        stop.set()
        for job in jobs:
            job.result()
    assert wrong == []
    assert seen == {False, True}  # answers went on, and the deaths were told
    assert server.process.poll() is None
    for _ in range(50):  # the last death may still be told once
        status, answer = ask(server)
        if status == 200:
            break
        time.sleep(0.1)
    assert answer["choices"][0]["message"]["content"] == "3 plus 4 is 7."
    seconds_until_idle(server)
