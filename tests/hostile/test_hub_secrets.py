"""Tokens: who gets them, and where they never show: foreign hosts, addresses, logs, errors."""

import contextlib
import json
import logging

import pytest

from phi4local.errors import AccessDeniedError, DownloadError, Phi4LocalError
from phi4local.store import blobs, download, http, sources
from phi4local.store.download import DownloadSettings
from phi4local.store.references import parse
from tests.hubs import Fault, HuggingFaceHub, ModelScopeHub, OllamaRegistry

GGUF = b"GGUF" + bytes(1000)
NAME = "phi-4-Q4_K_M.gguf"
SECRET = "hf_verysecret"


@pytest.fixture(autouse=True)
def _secrets(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PHI4LOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", SECRET)
    monkeypatch.setenv("PHI4LOCAL_TRUST_ENDPOINT", "1")
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.01)
    caplog.set_level(logging.DEBUG)
    yield
    assert "secret" not in caplog.text
    assert "Signature" not in caplog.text
    for path in tmp_path.rglob("*"):
        assert "secret" not in path.name
        if path.is_file():
            assert b"secret" not in path.read_bytes()
            assert b"Signature" not in path.read_bytes()


def hub_of(kind, variable, monkeypatch):
    hub = kind()
    monkeypatch.setenv(variable, hub.url)
    if kind is OllamaRegistry:
        hub.add("library/phi4:14b", [("model", GGUF)])
        monkeypatch.setenv("PHI4LOCAL_REGISTRY_AUTH", f"{hub.host}=me:{SECRET}")
    else:
        hub.add("u/r", {NAME: GGUF})
    return hub


PLACES = {
    "huggingface": (HuggingFaceHub, "HF_ENDPOINT", "hf.co/u/r"),
    "modelscope": (ModelScopeHub, "MODELSCOPE_ENDPOINT", "modelscope.cn/u/r"),
    "registry": (OllamaRegistry, "PHI4LOCAL_REGISTRY", "phi4:14b"),
}


@pytest.fixture(params=PLACES)
def place(request, monkeypatch):
    """A hub that the token is for, and the name of its model."""
    kind, variable, name = PLACES[request.param]
    with hub_of(kind, variable, monkeypatch) as hub:
        yield hub, name


@pytest.fixture
def stranger():
    """Another server, which must not learn anything."""
    with HuggingFaceHub() as stranger:
        stranger.add("u/r", {NAME: GGUF})
        yield stranger


def told(hub, server="hub"):
    """Return every header value that holds the secret, of the requests to a server."""
    hidden = (SECRET, "bWU6aGZfdmVyeXNlY3JldA")  # as it is, and as Basic has it
    seen = [value for one in hub.requests if one.server == server for value in one.headers.values()]
    assert not any(word in one.target for one in hub.requests for word in hidden)
    return [value for value in seen if any(word in value for word in hidden)]


IMPATIENT = DownloadSettings(tries=2, first_wait_seconds=0.01, longest_pause_seconds=0.1)


def fetch(name):
    """Return the bytes of a model that is pulled."""
    return bring(sources.resolve(parse(name)).files[0])


def bring(file):
    fetched = download.fetch(file, settings=IMPATIENT)
    return blobs.blob_path(fetched.sha256).read_bytes()


def test_the_hub_gets_its_token_and_its_cdn_does_not(place):
    hub, name = place
    assert fetch(name) == GGUF
    assert told(hub)
    assert not told(hub, "cdn")


def test_an_endpoint_that_is_not_trusted_gets_none(place, monkeypatch):
    hub, name = place
    monkeypatch.delenv("PHI4LOCAL_TRUST_ENDPOINT")
    monkeypatch.delenv("PHI4LOCAL_REGISTRY_AUTH", raising=False)
    assert fetch(name) == GGUF
    assert not told(hub)


def test_a_redirect_of_the_listing_takes_no_token_along(place, stranger):
    hub, name = place
    hub.faults = [Fault(status=302, headers={"Location": f"{stranger.url}/api/models/u/r/revision/main"})]
    with contextlib.suppress(DownloadError):  # a mirror of the same repository would do
        fetch(name)
    assert stranger.requests
    assert not told(stranger)


def test_a_redirect_of_the_file_takes_no_token_along(place, stranger):
    hub, name = place
    file = sources.resolve(parse(name)).files[0]
    hub.faults = [Fault(status=307, headers={"Location": f"{stranger.url}/u/r/resolve/main/{NAME}"})]
    assert bring(file) == GGUF
    assert not told(stranger)


def test_a_server_that_repeats_the_token_is_not_quoted(place):
    hub, name = place
    for words in (f"bad token Bearer {SECRET}", f'{{"error": "{SECRET}"}}'):
        for status in (400, 401, 403, 500):
            hub.faults = [Fault(status=status, body=words.encode(), times=4)]
            with pytest.raises(Phi4LocalError) as caught:
                fetch(name)
            assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_signatures_are_not_in_errors(place):
    hub, name = place
    hub.faults = [Fault(route="cdn", cut_after=10, ending="reset", times=100)]
    with pytest.raises(DownloadError) as caught:
        fetch(name)
    assert "Signature" not in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "line\r\nX-Evil: 1", "caf\u00e9", "x" * 20_000])
@pytest.mark.parametrize(
    ("variable", "name"), [("HF_TOKEN", "hf.co/u/r"), ("MODELSCOPE_API_TOKEN", "modelscope.cn/u/r")]
)
def test_what_is_no_token_is_neither_sent_nor_shown(monkeypatch, token, variable, name):
    monkeypatch.setenv(variable, token)
    with (
        hub_of(HuggingFaceHub, "HF_ENDPOINT", monkeypatch) as one,
        hub_of(ModelScopeHub, "MODELSCOPE_ENDPOINT", monkeypatch) as other,
    ):
        try:
            sources.resolve(parse(name))
        except AccessDeniedError as error:
            shown = str(error)
        else:  # huggingface_hub cleans some of them
            shown = ""
        assert "words" not in shown
        assert not any("x-evil" in seen.headers for seen in (*one.requests, *other.requests))


@pytest.fixture
def registry(monkeypatch):
    with hub_of(OllamaRegistry, "PHI4LOCAL_REGISTRY", monkeypatch) as hub:
        hub.secured = True
        yield hub


@pytest.mark.parametrize(
    "realm",
    [
        "{stranger}/token",
        "{stranger}@127.0.0.1/token",
        "http://{host}@{stranger_host}/token",
        "http://{host}.evil.example/token",
        "http://localhost:{stranger_port}/token",
        "https://{host}/token",
        "file:///etc/passwd",
        "//{stranger_host}/token",
        "http://[/token",
        "",
    ],
)
def test_a_realm_of_somebody_else_learns_nothing(registry, stranger, realm):
    registry.realm = realm.format(
        stranger=stranger.url,
        stranger_host=stranger.host,
        stranger_port=stranger.host.partition(":")[2],
        host=registry.host,
    )
    with pytest.raises(AccessDeniedError) as caught:
        sources.resolve(parse("phi4:14b"))
    assert caught.value.hint
    assert stranger.requests == []


def test_only_partners_of_a_known_service_may_be_its_realm():
    for origin, realm, allowed in (
        ("https://hf.co", "https://huggingface.co/v2/token", True),
        ("https://registry.ollama.ai", "https://ollama.com/token", True),
        ("https://registry.ollama.ai", "https://huggingface.co/v2/token", False),
        ("https://registry.ollama.ai", "http://ollama.com/token", False),
        ("https://registry.ollama.ai", "https://ollama.com.evil.example/token", False),
        ("https://registry.ollama.ai", "https://registry.ollama.ai:8443/token", False),
        ("https://r.example", "https://r.example/token", True),
        ("https://r.example", "https://auth.r.example/token", False),
    ):
        assert sources.registry.RegistryCredentials(origin)._is_own(realm) is allowed, (origin, realm)


def test_a_token_server_that_redirects_takes_no_password_along(registry, stranger):
    registry.faults = [
        Fault(route="token", status=307, headers={"Location": f"{stranger.url}/token"}, times=9)
    ]
    with pytest.raises(AccessDeniedError):
        sources.resolve(parse("phi4:14b"))
    assert not told(stranger)


def test_a_cdn_cannot_ask_for_a_new_token(registry):
    model = sources.resolve(parse("phi4:14b"))
    asked = len([seen for seen in registry.requests if seen.path == "/token"])
    challenge = {"WWW-Authenticate": f'Bearer realm="{registry.url}/token",service="x",scope="y"'}
    registry.faults = [Fault(route="cdn", status=401, headers=challenge, times=99)]
    assert http.get(model.files[0].url, credentials=model.files[0].credentials).status == 401
    with pytest.raises(DownloadError):
        bring(model.files[0])
    assert len([seen for seen in registry.requests if seen.path == "/token"]) == asked


@pytest.mark.parametrize("token", ["", "two words", "a\r\nX-Evil: 1", 5, None, ["x"], "x" * 20_000])
def test_a_token_that_is_none_is_not_used(registry, token, monkeypatch):
    registry.faults = [Fault(route="token", body=json.dumps({"token": token}).encode())]
    with pytest.raises(AccessDeniedError):
        sources.resolve(parse("phi4:14b"))


def test_a_listing_that_goes_on_elsewhere_is_refused(monkeypatch, stranger):
    with hub_of(HuggingFaceHub, "HF_ENDPOINT", monkeypatch) as hub:
        link = {"Link": f'<{stranger.url}/api/models/u/r/tree/main>; rel="next"'}
        hub.faults = [Fault(headers=link, skip=1)]
        with pytest.raises(DownloadError, match="another host"):
            sources.resolve(parse("hf.co/u/r"))
    assert stranger.requests == []


def test_nothing_secret_is_in_a_plan(place):
    _, name = place
    assert SECRET not in repr(sources.resolve(parse(name)))
