"""Counters for Prometheus, read by its own client; and never a word of what anybody said."""

import http.client
import json
from urllib.parse import urlsplit

import prometheus_client.parser
import pytest

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
def server(native_library):
    with ServedProcess("phi4-nano", env={"PHI4LOCAL_API_KEY": KEY}) as server:
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


def test_nobodys_words_and_no_key_are_told(server):
    chat(server, max_tokens=3)
    chat(server, max_tokens=0)
    send(server, f"/v1/models/{CANARY}?key={KEY}")
    _, text = counters(server)
    written = "\n".join(server.lines)
    for secret in (CANARY, KEY):
        assert secret not in text
        assert secret not in written
