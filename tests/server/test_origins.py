"""Who may ask: names, pages and keys as a table, on the middleware and on a real server."""

import asyncio
import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest

from phi4local.server.app import ERROR_BODIES
from phi4local.server.errors import ErrorShapes
from phi4local.server.limits import BodyLimit
from phi4local.server.options import ServerOptions
from phi4local.server.origins import KnownCallers

OPTIONS = ServerOptions(
    allowed_hosts=("box.lan", "Chat.Example."), allowed_origins=("https://chat.example/",)
)
OURS = "127.0.0.1:8004"


def ask(headers, method="GET", options=OPTIONS, path="/v1/models"):
    """Return status and headers of a request through the middleware; 200 is the application behind it."""
    sent = []

    async def application(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"answer"})

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    callers = KnownCallers(application, options=options, shapes=ErrorShapes(ERROR_BODIES), pool=None)
    asyncio.run(callers(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent)


HOSTS = {
    "127.0.0.1:8004": True, "127.0.0.1": True, "127.1.2.3:1": True, "localhost:8004": True,
    "LocalHost": True, "localhost.": True, "app.localhost:8004": True, "[::1]:8004": True, "[::1]": True,
    "192.168.1.20:8004": True, "[fe80::1]:8004": True, "0.0.0.0:8004": True, "box.lan:8004": True,
    "BOX.LAN": True, "chat.example": True, "evil.example:8004": False, "localhost.evil.example": False,
    "evil-localhost": False, "127.0.0.1.nip.io": False, "127.0.0.1.evil.example:8004": False,
    "box.lan.evil.example": False, "xbox.lan": False, "": False, " ": False, "localhost:8004:1": False,
    "localhost/evil": False, "user@localhost": False, "localhost#": False, "localhost:port": False,
    "[::1": False, "::1": False, "2130706433.evil": False, "127.0.0.1\r\nX: y": False, "\xe9vil": False,
    "localhost:123456": False, "a b": False,
}  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_names_of_hosts(host):
    status, _, body = ask([(b"host", host.encode("latin-1"))])
    assert status == (200 if HOSTS[host] else 403)
    if not HOSTS[host]:
        assert "Host" in json.loads(body)["error"]["message"]


def test_a_request_without_a_host_or_with_two_is_refused():
    assert ask([])[0] == 403
    assert ask([(b"host", OURS.encode()), (b"host", b"evil.example")])[0] == 403


ORIGINS = {
    "http://127.0.0.1:8004": True, "http://localhost:3000": True, "https://localhost": True,
    "http://[::1]:5173": True, "http://127.0.0.1:1": True, "https://chat.example": True,
    "https://CHAT.example": True, "http://chat.example": False, "https://chat.example:444": False,
    "https://chat.example.evil.example": False, "https://evil.example": False, "null": False, "": False,
    "file://": False, "http://localhost.evil.example": False, "http://evil.example#http://localhost": False,
    "http://localhost@evil.example": False, "http://": False, "https://sub.chat.example": False,
    "chrome-extension://abc": False, "http://192.168.1.5": False,
    "http://localhost:3000 https://evil.example": False, "http://127.0.0.1.evil.example": False,
    "\xff": False,
}  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_pages(origin, method):
    sent = [(b"host", OURS.encode()), (b"origin", origin.encode("latin-1"))]
    if method == "OPTIONS":
        sent += [
            (b"access-control-request-method", b"POST"),
            (b"access-control-request-headers", b"authorization"),
        ]
    status, headers, body = ask(sent, method)
    if ORIGINS[origin]:
        assert status == (204 if method == "OPTIONS" else 200)
        assert headers[b"access-control-allow-origin"] == origin.encode("latin-1")
        assert headers[b"vary"] == b"Origin"
        assert (b"access-control-allow-headers" in headers) == (method == "OPTIONS")
    else:
        assert status == 403
        assert b"access-control-allow-origin" not in headers
        assert "Origin" in json.loads(body)["error"]["message"]


def test_more_cases_than_sixty():
    assert len(HOSTS) + 3 * len(ORIGINS) >= 60


def test_a_page_of_the_address_that_was_asked_may_ask():
    lan = [(b"host", b"192.168.1.20:8004"), (b"origin", b"http://192.168.1.20:8004")]
    assert ask(lan)[0] == 200
    assert ask([(b"host", b"192.168.1.20:8004"), (b"origin", b"http://192.168.1.21:8004")])[0] == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8004", 200), ("http://localhost:3000", 403), ("http://localhost:8004", 403),
        ("https://chat.example", 403), ("https://evil.example", 403), ("null", 403),
        ("ftp://127.0.0.1:8004", 403),
    ],
)  # fmt: skip
def test_kept_conversations_are_for_the_servers_own_page(origin, status):
    headers = [(b"host", OURS.encode()), (b"origin", origin.encode())]
    everyone = ServerOptions(allowed_origins=("*", "https://chat.example"))
    for options in (OPTIONS, everyone):
        assert ask(headers, options=options, path="/page-api/sessions")[0] == status


def test_two_origins_are_refused():
    headers = [(b"host", OURS.encode()), (b"origin", b"http://localhost"), (b"origin", b"http://localhost")]
    assert ask(headers)[0] == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        (b"cross-site", b"no-cors", 403), (b"same-site", b"no-cors", 403), (b"cross-site", b"navigate", 200),
        (b"same-origin", b"cors", 200), (b"none", b"navigate", 200), (b"cross-site", None, 403),
    ],
)  # fmt: skip
def test_pictures_and_scripts_of_another_page(site, mode, status):
    headers = [(b"host", OURS.encode()), (b"sec-fetch-site", site)]
    headers += [] if mode is None else [(b"sec-fetch-mode", mode)]
    assert ask(headers)[0] == status


def test_every_page_may_ask_where_a_person_says_so_and_private_networks_are_answered():
    options = ServerOptions(allowed_origins=("*",))
    headers = [
        (b"host", OURS.encode()), (b"origin", b"https://any.example"),
        (b"access-control-request-method", b"POST"),
        (b"access-control-request-private-network", b"true"),
    ]  # fmt: skip
    status, answer, _ = ask(headers, "OPTIONS", options)
    assert status == 204
    assert answer[b"access-control-allow-private-network"] == b"true"


def request(served, headers, *, method="POST", path="/v1/chat/completions", body=b""):
    """Send a request as it stands, and return the status line and the body."""
    place = urlsplit(served.address)
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        lines = [f"{method} {path} HTTP/1.1", *headers, "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read()


CHAT = json.dumps(
    {"model": "phi4-nano", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}
).encode()


def test_a_real_server_refuses_foreign_names_and_pages(served):
    host, length = f"Host: {urlsplit(served.address).netloc}", f"Content-Length: {len(CHAT)}"
    assert request(served, [host, length], body=CHAT)[0] == 200
    assert request(served, ["Host: evil.example", length], body=CHAT)[0] == 403
    # A form of another page needs no question before: the browser sends it at once.
    form = "Content-Type: text/plain"
    assert request(served, [host, length, form, "Origin: https://evil.example"], body=CHAT)[0] == 403
    assert (
        request(served, [host, "Origin: https://evil.example"], method="GET", path="/openapi.json")[0] == 403
    )


def test_long_bodies_are_refused_unread(served):
    host = f"Host: {urlsplit(served.address).netloc}"
    status, body = request(served, [host, "Content-Length: 1000000000"])
    assert status == 413
    assert "more than 8,000,000 bytes" in json.loads(body)["error"]["message"]
    assert request(served, [host, "Content-Length: 99999999999999999999999"])[0] == 400  # no number for HTTP


@pytest.mark.parametrize("announced", [True, False])
def test_what_is_left_of_a_refused_body_is_not_read(served, announced):
    place = urlsplit(served.address)
    length = "Content-Length: 1000000000" if announced else "Transfer-Encoding: chunked"
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\n{length}\r\n\r\n".encode()
    data = b"x" * 1_000_000
    piece = data if announced else b"f4240\r\n" + data + b"\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        connection.sendall(head)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(piece * 100)


def test_a_body_of_unknown_length_is_refused_where_the_limit_is():
    """The part behind the limit is never asked for."""
    asked, sent = [], []

    async def application(_scope, receive, _send):
        while (await receive())["more_body"]:
            pass

    async def receive():
        asked.append(1)
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    async def send(message):
        sent.append(message)

    options = ServerOptions(most_body_bytes=10_000)
    limit = BodyLimit(application, options=options, shapes=ErrorShapes(ERROR_BODIES), pool=None)
    with pytest.raises(Exception, match="more than 10,000 bytes"):
        asyncio.run(limit({"type": "http", "path": "/v1/x", "headers": []}, receive, send))
    assert len(asked) == 11
