"""What is sent where, and what is believed: against real sockets."""

import email.utils
import time

import pytest

from phi4local.errors import DownloadError, OfflineError
from phi4local.store import http
from phi4local.store.http import Credentials
from tests.hubs import Fault, HuggingFaceHub

SECRET = {"Authorization": "Bearer hf_secret"}


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch):
    monkeypatch.setattr(http, "FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture
def hub():
    with HuggingFaceHub() as hub:
        hub.add("a/b", {"x.gguf": b"0123456789", "small.txt": b"text"})
        yield hub


def get(hub, path="/a/b/resolve/main/x.gguf", **more):
    return http.get(hub.url + path, credentials=Credentials(hub.url, SECRET), **more)


def test_a_redirect_is_followed_and_the_token_stays_at_home(hub):
    reply = get(hub)
    assert (reply.status, reply.body) == (200, b"0123456789")
    assert reply.url.startswith(hub.cdn_url)
    told = {seen.server: seen.headers.get("authorization") for seen in hub.requests}
    assert told == {"hub": "Bearer hf_secret", "cdn": None}


def test_credentials_are_for_one_origin_and_never_unencrypted():
    credentials = Credentials("https://huggingface.co", SECRET)
    assert credentials.headers_for("https://HuggingFace.co:443/x") == SECRET
    for url in (
        "http://huggingface.co/x",
        "https://huggingface.co:444/x",
        "https://huggingface.co.evil.example/x",
        "https://evil.example/https://huggingface.co",
        "https://huggingface.co@evil.example/",
        "https://cdn.huggingface.co/x",
        "https://[",
    ):
        assert credentials.headers_for(url) == {}, url
    assert Credentials("http://example.com", SECRET).headers_for("http://example.com/") == {}
    assert Credentials("http://127.0.0.1:8000", SECRET).headers_for("http://127.0.0.1:8000/") == SECRET
    assert "secret" not in repr(credentials)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503, times=3),
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(route="cdn", cut_after=3, ending="reset", times=3),
        Fault(route="cdn", cut_after=3, times=2),
        Fault(status=408),
    ],
)
def test_what_passes_is_tried_again(hub, fault):
    hub.faults = [fault]
    assert get(hub).body == b"0123456789"


def test_a_busy_server_is_left_alone_after_a_while(hub):
    hub.faults = [Fault(status=503, times=10**6)]
    assert get(hub).status == 503
    assert len(hub.requests) == http.TRIES


def test_a_lost_connection_names_the_host_and_nothing_secret(hub):
    hub.faults = [Fault(route="cdn", cut_after=3, ending="reset", times=10**6)]
    with pytest.raises(DownloadError, match="cannot reach") as caught:
        get(hub)
    assert "Signature" not in str(caught.value)
    assert "secret" not in str(caught.value)
    nobody = "http://127.0.0.1:1/x?token=hf_secret"
    with pytest.raises(DownloadError, match=r"cannot reach http://127\.0\.0\.1:1: ") as caught:
        http.get(nobody, credentials=Credentials(nobody, SECRET))
    assert "secret" not in str(caught.value)


def test_a_body_over_the_limit_is_not_read_to_its_end(hub):
    with pytest.raises(DownloadError, match="more than 5 bytes"):
        get(hub, limit_bytes=5)


def test_a_redirect_in_a_circle_ends(hub):
    hub.faults = [Fault(status=302, headers={"Location": "/a/b/resolve/main/x.gguf"}, times=10**6)]
    with pytest.raises(DownloadError, match="circle"):
        get(hub)
    assert len(hub.requests) == http.MOST_REDIRECTS + 1


@pytest.mark.parametrize(
    ("url", "location", "problem"),
    [
        ("https://hf.co/x", "http://hf.co/y", "without encryption"),
        ("https://hf.co/x", "https://127.0.0.1/y", "no address of the internet"),
        ("https://hf.co/x", "https://10.0.0.1/y", "no address of the internet"),
        ("https://hf.co/x", "https://169.254.169.254/latest/meta-data", "no address of the internet"),
        ("https://hf.co/x", "https://[::1]/y", "no address of the internet"),
        ("https://hf.co/x", "https://localhost:8000/y", "no address of the internet"),
        ("https://hf.co/x", "https://metadata.google.internal/", "no address of the internet"),
        ("https://hf.co/x", "file:///etc/passwd", "no address of the web"),
        ("https://hf.co/x", "https://[/y", "no address"),
    ],
)
def test_some_redirects_are_refused(url, location, problem):
    with pytest.raises(DownloadError, match=problem):
        http.next_address(url, location)


def test_other_redirects_lead_on():
    assert http.next_address("https://hf.co/a/b?c", "../d") == "https://hf.co/d"
    assert (
        http.next_address("https://hf.co/a", "https://cdn.example.com/b?c=1")
        == "https://cdn.example.com/b?c=1"
    )
    assert http.next_address("http://127.0.0.1:1/a", "http://127.0.0.1:2/b") == "http://127.0.0.1:2/b"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"ratelimit": '"resolvers";r=0;t=7'}, 7.0),
        ({"ratelimit": '"resolvers";r=12;t=7'}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": email.utils.formatdate(time.time() - 100)}, 0.0),
    ],
)
def test_servers_say_how_long_to_wait(headers, seconds):
    assert http.asked_to_wait(headers) == seconds


def test_a_date_to_wait_for_is_in_the_future():
    headers = {"retry-after": email.utils.formatdate(time.time() + 1000)}
    assert 900 < http.asked_to_wait(headers) <= 1000


@pytest.mark.parametrize("name", ["PHI4LOCAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_opens_no_socket(hub, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(OfflineError):
        get(hub)
    assert hub.requests == []


def test_a_proxy_is_not_asked_for_this_machine(hub, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    http._client.cache_clear()
    assert get(hub).status == 200


@pytest.mark.parametrize(
    "proxy", ["socks5://me:secret@127.0.0.1:1", "ftp://me:secret@x", "http://127.0.0.1:1"]
)
def test_a_proxy_that_cannot_be_used_is_said(monkeypatch, proxy):
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    http._client.cache_clear()
    with pytest.raises(DownloadError) as caught:
        http.get("https://hf.example/x", credentials=Credentials("https://hf.example", SECRET))
    assert "secret" not in f"{caught.value} {caught.value.hint}"
    http._client.cache_clear()


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_is_an_error(hub, body):
    hub.faults = [Fault(body=body, route="api")]
    with pytest.raises(DownloadError, match="JSON"):
        get(hub, "/api/models/a/b").json()
