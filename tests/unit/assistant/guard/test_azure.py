"""Azure AI Content Safety, spoken with a real server on this machine.

The shape of request and answer is that of Microsoft's specification: azure-rest-api-specs,
specification/cognitiveservices/data-plane/ContentSafety, version 2024-09-01, examples/AnalyzeText.json.
"""

import http.server
import json
import threading

import pytest

from phi4local.assistant.guard import Blocked, Guard, Unchecked, azure
from phi4local.engine import Finished, Text, Timings, Usage

END = Finished(
    reason="stop",
    usage=Usage(prompt_tokens=1, reused_tokens=0, generated_tokens=1),
    timings=Timings(prompt_seconds=0.0, generation_seconds=0.0),
)
POLICY = """
input = ["azure"]
output = ["private", "azure"]
log_file = "guard.jsonl"
window_characters = 60
[rules.private]
kind = "personal"
action = "mask"
[rules.azure]
kind = "azure"
"""


class Service(http.server.ThreadingHTTPServer):
    """Finds violence where a text says "attack", with the severity that a test chose."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.severity, self.refusals, self.seen, self.raw = 6, [], [], None


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append((self.path, self.headers["Ocp-Apim-Subscription-Key"], body))
        status, severity = 200, self.server.severity if "attack" in body["text"] else 0
        answer = {
            "blocklistsMatch": [],
            "categoriesAnalysis": [
                {"category": name, "severity": severity if name == "Violence" else 0}
                for name in body["categories"]
            ],
        }
        if self.server.refusals:
            status, answer = self.server.refusals.pop(0), {"error": {"code": "No", "message": "not now"}}
        data = self.server.raw or json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def service(monkeypatch):
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("CONTENT_SAFETY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("CONTENT_SAFETY_KEY", "fox-key")
        monkeypatch.setattr(azure, "WAIT_SECONDS", 0.0)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def guard(service, tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY, encoding="utf-8")
    return Guard.from_file(tmp_path / "policy.toml")


def lenient(tmp_path):
    (tmp_path / "policy.toml").write_text(POLICY + 'on_failure = "allow"\n', encoding="utf-8")
    return Guard.from_file(tmp_path / "policy.toml")


def test_the_request_is_the_documented_one(guard, service):
    assert guard.check_input("Hello there").allowed
    ((path, key, body),) = service.seen
    assert path == "/contentsafety/text:analyze?api-version=2024-09-01"
    assert key == "fox-key"
    assert body == {
        "text": "Hello there",
        "categories": ["Hate", "SelfHarm", "Sexual", "Violence"],
        "outputType": "FourSeverityLevels",
    }


@pytest.mark.parametrize(("severity", "allowed"), [(0, True), (2, True), (4, False), (6, False)])
def test_what_is_severe_enough_is_blocked(guard, service, severity, allowed):
    service.severity = severity
    verdict = guard.check_input("We attack at dawn.")
    assert (verdict.allowed, verdict.category) == (allowed, "" if allowed else "Violence")


def test_a_long_text_is_read_to_its_end(guard, service):
    assert not guard.check_input("word " * 5000 + "attack").allowed
    assert max(len(body["text"]) for _, _, body in service.seen) <= 10_000


def test_a_busy_service_is_asked_once_more(guard, service):
    service.refusals = [429]
    assert guard.check_input("Hello").allowed
    assert len(service.seen) == 2


@pytest.mark.parametrize(
    "fault", [[401], [503, 503], b"{}", b"no JSON", b'{"categoriesAnalysis": []}', "gone"]
)
def test_a_failure_blocks_unless_the_policy_says_otherwise(guard, service, tmp_path, fault):
    for chosen, allowed in ((guard, False), (lenient(tmp_path), True)):
        if fault == "gone":
            service.server_close()
        service.refusals, service.raw = (list(fault), None) if isinstance(fault, list) else ([], fault)
        if fault == "gone":
            service.raw = None
        verdict = chosen.check_input("Hello")
        assert verdict.allowed is allowed
        assert "azure" in verdict.text_for_person
        assert "check" in verdict.text_for_person
        assert "fox-key" not in verdict.text_for_person


def test_offline_nothing_is_asked(guard, service, monkeypatch):
    monkeypatch.setenv("PHI4LOCAL_OFFLINE", "1")
    assert not guard.check_input("Hello").allowed
    assert service.seen == []


def test_nothing_of_an_answer_leaves_before_the_service_allowed_it(guard, service):
    text = (
        "One fine day, pip@fox.org went out. Then the sun came up again over the hills. They attack! The end."
    )
    shown, out = "", []
    for event in guard.filtered([*(Text(c, (i,)) for i, c in enumerate(text)), END]):
        out.append(event)
        if isinstance(event, Text):
            shown += event.delta
            assert any(shown in body["text"] and "attack" not in body["text"] for _, _, body in service.seen)
    assert shown.startswith("One fine day, [e-mail address] went out.")
    assert "attack" not in shown
    assert all("pip@fox" not in body["text"] for _, _, body in service.seen)
    assert [type(event) for event in out[-2:]] == [Blocked, Finished]


def test_unchecked_answers_say_so(service, tmp_path):
    guard = lenient(tmp_path)
    service.refusals = [403] * 9
    out = list(guard.filtered([Text("Hello there.", (1,)), END]))
    assert [type(event) for event in out] == [Unchecked, Text, Finished]
