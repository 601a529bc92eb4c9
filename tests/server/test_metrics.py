"""Counters for Prometheus, read by its own client; and never a word of what anybody said."""

import asyncio
import http.client
import json
import os
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import prometheus_client.parser
import pytest

from phi4local.errors import FileWriteError
from phi4local.runtime.open import open_model
from phi4local.runtime.pool import ModelPool
from phi4local.server.access_log import AccessLog, Logged
from phi4local.server.metrics import Counted, Metrics
from tests.served import ServedProcess

CANARY, KEY = "a-canary-in-the-coal-mine", "key-of-the-canary"


def send(server, path, body=None, method=None, headers=None):
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    sent = {"Authorization": f"Bearer {KEY}", **(headers or {})}
    connection.request(method or ("POST" if body else "GET"), path, body and json.dumps(body), sent)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def counters(server):
    status, text = send(server, "/metrics")
    assert status == 200
    families = prometheus_client.parser.text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}, text


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "access.jsonl"


def lines(log):
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def added(log, before, count):
    """Wait for lines: the one of a request is written when its answer was sent."""
    ends = time.monotonic() + 20
    while len(found := lines(log)[before:]) < count and time.monotonic() < ends:
        time.sleep(0.02)
    return found


def settled(server, log):
    """Return how many lines there are when those of earlier requests are written."""
    send(server, "/health", method="DELETE")
    ends = time.monotonic() + 20
    while (found := lines(log))[-1:] == [] or found[-1]["method"] != "DELETE":
        assert time.monotonic() < ends, "the request was not logged"
        time.sleep(0.02)
    return len(found)


@pytest.fixture(scope="module")
def server(native_library, log):
    key = {"PHI4LOCAL_API_KEY": KEY}
    with ServedProcess("phi4-nano", "--access-log", log, env=key) as server:
        yield server
        assert server.stop() == 0


def chat(server, **more):
    talk = [{"role": "user", "content": f"Tell me of {CANARY}."}]
    return send(server, "/v1/chat/completions", {"model": "phi4-nano", "messages": talk, **more})


def test_what_was_asked_and_answered_is_counted(server):
    before, _ = counters(server)
    status, body = chat(server, max_tokens=7, seed=1)
    usage = json.loads(body)["usage"]
    assert status == 200
    assert chat(server, max_tokens=5, stream=True)[0] == 200
    assert send(server, "/api/chat", {"model": "phi4-nano", "messages": [], "stream": False})[0] == 200
    assert send(server, "/v1/models/phi4-nano")[0] == 200
    after, _ = counters(server)

    def grown(name, **labels):
        key = (f"phi4local_{name}", tuple(sorted(labels.items())))
        return after.get(key, 0) - before.get(key, 0)

    post = {"method": "POST", "status": "200"}
    assert grown("requests_total", path="/v1/chat/completions", **post) == 2
    assert grown("requests_total", path="/api/chat", **post) == 1
    assert grown("requests_total", path="/v1/models/{name:path}", method="GET", status="200") == 1
    assert grown("tokens_total", kind="generated") == usage["completion_tokens"] + 5
    assert grown("tokens_total", kind="prompt") == 2 * usage["prompt_tokens"]
    assert grown("answers_total", reason="length") >= 1
    assert grown("request_seconds_count", path="/v1/chat/completions") == 2
    assert grown("request_seconds_bucket", path="/v1/chat/completions", le="+Inf") == 2
    assert grown("request_seconds_sum", path="/v1/chat/completions") > 0
    assert after["phi4local_models_loaded", ()] == 1
    assert after["phi4local_requests_running", ()] == 1  # the one that asks


def test_refused_ones_count_and_addresses_of_clients_make_no_series(server):
    assert send(server, "/v1/models", headers={"Authorization": "Bearer no"})[0] == 401
    assert send(server, "/v1/models", headers={"Host": "evil.example"})[0] == 403
    for number in range(20):
        assert send(server, f"/{CANARY}/{number}")[0] == 404
    assert send(server, "/health", method="BREW")[0] == 405
    after, text = counters(server)
    paths = {dict(labels).get("path") for name, labels in after if name == "phi4local_requests_total"}
    assert "other" in paths
    assert len(paths) < 10
    assert (
        after["phi4local_requests_total", (("method", "GET"), ("path", "/v1/models"), ("status", "401"))] >= 1
    )
    assert "BREW" not in text


def test_each_request_is_a_line_of_the_log(server, log):
    before = settled(server, log)
    _, body = chat(server, max_tokens=7, n=2)
    usage = json.loads(body)["usage"]
    send(server, "/v1/messages", {"model": "phi4-nano", "messages": [], "max_tokens": 5})
    send(server, f"/{CANARY}")
    send(server, "/v1/models", headers={"Authorization": "Bearer no"})
    own = {"model": "phi4-nano", "messages": [{"role": "user", "content": CANARY}], "max_tokens": 4}
    send(server, "/phi4local/answer", own)
    asked, refused, lost, closed, own = added(log, before, 5)
    assert (own["path"], own["model"], own["generated_tokens"]) == ("/phi4local/answer", "phi4-nano", 4)
    assert (asked["method"], asked["path"], asked["status"]) == ("POST", "/v1/chat/completions", 200)
    assert (asked["client"], asked["model"], asked["ended"]) == ("127.0.0.1", "phi4-nano", ["length"] * 2)
    assert (asked["prompt_tokens"], asked["generated_tokens"]) == (2 * usage["prompt_tokens"], 14)
    assert 0 < asked["seconds"] < 60
    assert asked["sent_bytes"] == len(body)
    assert datetime.fromisoformat(asked["time"]).tzinfo is not None
    assert (refused["path"], refused["status"], refused["model"]) == ("/v1/messages", 400, None)
    assert (lost["path"], lost["status"]) == ("other", 404)
    assert (closed["path"], closed["status"]) == ("/v1/models", 401)


def test_a_line_says_the_model_of_what_is_no_answer_and_the_kind_of_an_error(server, log):
    before = settled(server, log)
    nano = {"model": "phi4-nano"}
    _, answer = send(server, "/phi4local/answer", {**nano, "text": CANARY, "max_tokens": 5})
    _, vectors = send(server, "/v1/embeddings", {**nano, "input": CANARY})
    _, more = send(server, "/api/embed", {**nano, "input": [CANARY, CANARY]})
    send(server, "/v1/completions", {"model": CANARY, "prompt": CANARY})
    own, openai, ollama, unknown = added(log, before, 4)
    usage = json.loads(answer.splitlines()[-1])["finished"]["usage"]
    told = (own["model"], own["prompt_tokens"], own["generated_tokens"], own["ended"])
    assert told == ("phi4-nano", usage["prompt_tokens"], 5, ["length"])
    one = json.loads(vectors)["usage"]["prompt_tokens"]
    assert (openai["model"], openai["prompt_tokens"], openai["ended"]) == ("phi4-nano", one, [])
    assert (ollama["model"], ollama["prompt_tokens"]) == ("phi4-nano", json.loads(more)["prompt_eval_count"])
    assert (unknown["model"], unknown["status"], unknown["error"]) == (None, 404, "UnknownModelError")
    assert [one["error"] for one in (own, openai, ollama)] == [None] * 3


def test_a_client_that_leaves_is_told_apart(server, log):
    before = settled(server, log)
    place = urlsplit(server.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    endless = {"logit_bias": {str(token): -100 for token in range(8096, 8192)}, "max_tokens": 1500}
    talk = {"model": "phi4-nano", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    key = {"Authorization": f"Bearer {KEY}"}
    connection.request("POST", "/v1/chat/completions", json.dumps({**talk, **endless}), key)
    answer = connection.getresponse()
    assert answer.read(100)
    answer.close()
    connection.close()
    (line,) = added(log, before, 1)
    assert (line["status"], line["model"], line["ended"]) == (200, "phi4-nano", ["left"])


def test_a_request_that_fails_unforeseen_is_500_in_the_log_and_the_counters(tmp_path):
    async def failing(_scope, _receive, _send):
        raise RuntimeError(CANARY)

    counted, file = Metrics(), tmp_path / "log"
    state = SimpleNamespace(metrics=counted, access_log=AccessLog(str(file)))
    scope = {"type": "http", "method": "GET", "path": f"/{CANARY}", "app": SimpleNamespace(state=state)}
    rest = {"options": None, "shapes": None, "pool": None}
    with pytest.raises(RuntimeError):
        asyncio.run(Logged(Counted(failing, **rest), **rest)(scope, None, None))
    state.access_log.close()
    (line,) = lines(file)
    assert (line["status"], line["error"], line["path"]) == (500, "InternalError", "other")
    assert 'status="500"' in counted.text(ModelPool(open_model))
    assert CANARY not in file.read_text(encoding="utf-8")


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX does")
def test_a_line_that_the_disk_cut_off_spoils_no_other(tmp_path):
    import resource

    file, (soft, hard) = tmp_path / "log", resource.getrlimit(resource.RLIMIT_FSIZE)
    log = AccessLog(str(file))
    log.write({"line": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 5, hard))
    try:
        log.write({"line": 2})
        log.write({"line": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.write({"line": 4})
    log.close()
    assert file.read_text(encoding="utf-8").splitlines() == ['{"line": 1}', '{"lin', '{"line": 4}']


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such bits")
def test_only_its_owner_reads_the_log(server, log):
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_log_that_cannot_be_written_is_told_before_the_model_is_loaded(tmp_path):
    with pytest.raises(FileWriteError, match="cannot write"):
        AccessLog(str(tmp_path / "no" / "log"))


def test_a_full_disk_loses_lines_and_nothing_else():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no full disk to offer")
    log = AccessLog("/dev/full")
    log.write({"status": 200})
    log.close()


SECRET_PLACES = {
    "/v1/chat/completions": {"user": CANARY, "stop": CANARY, "metadata": {CANARY: CANARY}},
    "/v1/responses": {"input": CANARY, "instructions": CANARY, "metadata": {CANARY: CANARY}},
    "/v1/completions": {"prompt": CANARY, CANARY: CANARY},
    "/v1/messages": {"system": CANARY, "messages": [{"role": "user", "content": CANARY}]},
    "/api/generate": {"prompt": CANARY, "system": CANARY, "stream": False},
    "/v1/embeddings": {"input": CANARY},
    "/api/chat": {"messages": [{"role": CANARY, "content": CANARY}]},
}


def test_nobodys_words_and_no_key_are_told(server, log):
    for path, body in SECRET_PLACES.items():
        send(server, path, {"model": "phi4-nano", "max_tokens": 3, **body})
        send(server, path, {**body, "model": CANARY})
    send(server, "/v1/models", method=CANARY.upper())
    send(server, "/v1/models", headers={"User-Agent": CANARY, "Referer": CANARY, "Cookie": CANARY})
    for text in (CANARY, f"fe80::1%{CANARY}"):
        send(server, "/v1/models", headers={"X-Forwarded-For": text, "X-Forwarded-Proto": text})
    chat(server, max_tokens=3)
    chat(server, max_tokens=0)
    send(server, f"/v1/models/{CANARY}?key={KEY}")
    _, text = counters(server)
    written = "\n".join(server.lines)
    for secret in (CANARY, KEY):
        assert secret.lower() not in text.lower()
        assert secret.lower() not in written.lower()
        assert secret.lower() not in log.read_text(encoding="utf-8").lower()
