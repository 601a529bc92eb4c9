"""The three sources, played by servers on this machine that answer, refuse, hang and send elsewhere."""

import socket

import pytest

from phi4local.doctor import network
from tests.hostile.scripted_server import WAIT, ScriptedServer, response

VARIABLES = {
    "Hugging Face": "HF_ENDPOINT",
    "ModelScope": "MODELSCOPE_ENDPOINT",
    "Ollama registry": "PHI4LOCAL_REGISTRY",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch):
    for name in ("HF_TOKEN", "MODELSCOPE_API_TOKEN", "PHI4LOCAL_REGISTRY_AUTH"):
        monkeypatch.setenv(name, "a-secret")
    for name in ("PHI4LOCAL_OFFLINE", "HF_HUB_OFFLINE", "MODELSCOPE_DOMAIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ask(monkeypatch):
    """`ask(address, seconds)`: the results by name when all three sources are at one address."""

    def ask(address, seconds=10.0):
        for variable in VARIABLES.values():
            monkeypatch.setenv(variable, address)
        return {result.name: result for result in network.check(seconds)}

    return ask


@pytest.fixture
def serve(request):
    def start(answer):
        server = ScriptedServer(models=answer)
        request.addfinalizer(server.close)
        return server

    return start


def test_sources_that_answer_are_right_and_no_token_is_sent(ask, serve):
    server = serve(response(b'{"id": "microsoft/phi-4"}'))
    results = ask(server.address)
    assert [result.state for result in results.values()] == ["ok"] * 3
    assert results["ModelScope"].seen.startswith(f"{server.address} answers in ")
    heads = [head for head, _ in server.requests]
    assert sorted(head.split()[1] for head in heads) == [
        "/api/models/microsoft/phi-4",
        "/api/v1/models/LLM-Research/phi-4",
        "/v2/",
    ]
    assert not any("secret" in head or "authorization" in head.lower() for head in heads)


def test_a_refused_connection_is_a_warning(ask):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    results = ask(address)
    assert {result.state for result in results.values()} == {"warning"}
    assert results["Hugging Face"].seen.startswith("cannot be reached: ")


def test_a_server_that_says_nothing_is_not_waited_for(ask, serve, monkeypatch):
    monkeypatch.setattr(network, "READ_SECONDS", 1.0)
    results = ask(serve(WAIT).address, seconds=0.2)
    assert {result.seen for result in results.values()} == {"silent for 0.2 s"}


def test_a_server_that_falls_silent_is_not_reached(ask, serve, monkeypatch):
    monkeypatch.setattr(network, "READ_SECONDS", 0.2)
    results = ask(serve(WAIT).address)
    assert {result.state for result in results.values()} == {"warning"}


def test_a_login_page_is_recognised(ask, serve):
    page = response(b"<html>Please log in</html>", kind="text/html; charset=utf-8")
    results = ask(serve(page).address)
    assert results["Hugging Face"].state == results["ModelScope"].state == "warning"
    assert "answers with text/html, not with JSON" in results["Hugging Face"].seen


@pytest.mark.parametrize(
    ("location", "state", "words"),
    [
        ("http://localhost:1/login?secret=x", "warning", "sends to http://localhost:1: a login page"),
        ("/again", "warning", "redirects in a circle"),
        ("ftp://127.0.0.1/", "wrong", "redirects to no address of the web"),
    ],
)
def test_redirects_are_followed_at_home_only(location, state, words, ask, serve):
    results = ask(serve(response(status="302 Found", Location=location)).address)
    assert results["Hugging Face"].state == state
    assert words in results["Hugging Face"].seen
    assert "secret" not in results["Hugging Face"].seen


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
def test_a_busy_server_is_a_warning(status, ask, serve):
    results = ask(serve(response(status=status)).address)
    assert results["Ollama registry"].seen.endswith(f"answers with status {status[:3]}")


def test_a_model_that_a_mirror_does_not_have_is_no_fault(ask, serve):
    results = ask(serve(response(b"{}", status="404 Not Found")).address)
    assert {result.state for result in results.values()} == {"ok"}


def test_an_address_that_is_none_is_wrong_and_not_repeated(ask):
    results = ask("http://me:swordfish@127.0.0.1:1")
    assert {result.state for result in results.values()} == {"wrong"}
    assert not any("swordfish" in result.seen + result.advice for result in results.values())
    assert results["ModelScope"].advice == "set MODELSCOPE_ENDPOINT to https://HOST"


@pytest.mark.parametrize("variable", ["PHI4LOCAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_asks_nobody(variable, ask, serve, monkeypatch):
    monkeypatch.setenv(variable, "1")
    server = serve(response(b"{}"))
    assert {result.state for result in ask(server.address).values()} == {"skipped"}
    assert server.requests == []
