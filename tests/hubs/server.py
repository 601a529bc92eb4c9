"""What the three fakes share: two loopback servers, ranges, signed addresses, and faults."""

from __future__ import annotations

import collections
import contextlib
import gzip
import hashlib
import http.server
import mmap
import re
import secrets
import socket
import struct
import threading
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

BLOCK_BYTES = 64 * 1024


@dataclass(kw_only=True)
class Request:
    """One request as it came. `server` is `hub` or `cdn`; header names are in lower case."""

    server: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path without the query, still percent-encoded."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The last value of each name in the query."""
        return dict(urllib.parse.parse_qsl(self.target.partition("?")[2], keep_blank_values=True))


@dataclass(kw_only=True)
class Reply:
    """An answer before faults and ranges.

    `route` is what faults ask for; `file` is what bytes are counted under; `ranges` is how a range is
    answered: "206", "200" (with Content-Range, as ModelScope does) or "" (not at all). With `no_length` the
    end of the connection is the end of the body.
    """

    status: int = 200
    body: bytes | mmap.mmap = b""
    headers: dict[str, str] = field(default_factory=dict)
    route: str = "api"
    file: str = ""
    ranges: str = ""
    signature: str = ""
    no_length: bool = False


@dataclass(kw_only=True)
class Fault:
    """Something that goes wrong with the answers on a route.

    Attributes:
        route: `api`, `resolve`, `cdn`, `manifest`, `blob`, `token`; empty for every one.
        file: only answers about a file whose name ends so.
        method: only this method.
        times: how many answers; the later ones are right.
        skip: how many answers before that are right.
        status, headers, body: replace those of the answer.
        cut_after: send so many bytes of the body, then do `ending`: `fin`, `reset` or `stall`.
        bytes_per_second: send slowly.
        ignore_range: answer a range with everything.
        content_range: replaces the true one.
        no_length: no Content-Length; the end of the connection is the end of the body.
        extra: bytes that are sent (and announced) behind the body.
        flip: the byte of the whole file of which one bit is wrong.
        gzip: compress the body, asked for or not.
    """

    route: str = ""
    file: str = ""
    method: str = ""
    times: int = 1
    skip: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_after: int | None = None
    ending: str = "fin"
    bytes_per_second: int | None = None
    ignore_range: bool = False
    content_range: str | None = None
    no_length: bool = False
    extra: bytes = b""
    flip: int | None = None
    gzip: bool = False

    def takes(self, request: Request, reply: Reply) -> bool:
        """Return whether this answer is spoiled, and count it."""
        if self.route not in ("", reply.route) or not reply.file.endswith(self.file):
            return False
        if self.method not in ("", request.method) or self.times <= 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        return True


ALWAYS = 10**9
"""For `Fault.times`."""
NO_FAULT = Fault(times=0)


class Hub:
    """Two servers, what was asked of them, and what they sent. Subclasses answer `reply(request)`.

    Attributes:
        url, cdn_url: addresses of the two, without a path.
        faults: asked in order, each until its times are up.
        requests: everything that came, in order.
        served: bytes of bodies that were sent, by name of the file.
        signature_bytes: a signed address answers 403 once it has sent so many.
    """

    def __init__(self):
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.served: collections.Counter[str] = collections.Counter()
        self.signature_bytes: int | None = None
        self.lock = threading.Lock()
        self._signed: dict[str, tuple[Reply, int]] = {}
        self._servers = {name: _Server(self, name) for name in ("hub", "cdn")}
        self.url, self.cdn_url = (self._servers[name].url for name in ("hub", "cdn"))

    def __enter__(self):
        for server in self._servers.values():
            server.start()
        return self

    def __exit__(self, *_):
        for server in self._servers.values():
            server.stop()

    @property
    def host(self) -> str:
        """Host and port, as in a model's name."""
        return self.url.removeprefix("http://")

    def reply(self, request: Request) -> Reply:
        """Answer a request to the hub; the subclasses'."""
        raise NotImplementedError

    def sign(self, reply: Reply) -> str:
        """Return an address at the CDN that answers with `reply` for a while."""
        signature = secrets.token_hex(16)
        name = urllib.parse.quote(reply.file.rpartition("/")[2])
        with self.lock:
            self._signed[signature] = (reply, 0)
        return f"{self.cdn_url}/{name}?X-Amz-Expires=3600&X-Amz-Signature={signature}"

    def signed(self, request: Request) -> Reply:
        """Answer a request to the CDN."""
        signature = request.query.get("X-Amz-Signature", "")
        with self.lock:
            reply, sent = self._signed.get(signature, (None, 0))
        if reply is None or (self.signature_bytes is not None and sent >= self.signature_bytes):
            expired = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            return Reply(status=403, body=expired, route="cdn", file=reply.file if reply else "")
        headers = {"ETag": f'"{hashlib.md5(reply.file.encode()).hexdigest()}"', **reply.headers}
        return Reply(
            body=reply.body,
            headers=headers,
            route="cdn",
            file=reply.file,
            ranges="206",
            signature=signature,
        )

    def sent(self, reply: Reply, count: int) -> bool:
        """Count bytes that were sent; false when the signed address has expired meanwhile."""
        with self.lock:
            self.served[reply.file] += count
            if not reply.signature:
                return True
            kept, before = self._signed[reply.signature]
            self._signed[reply.signature] = (kept, before + count)
            return self.signature_bytes is None or before + count < self.signature_bytes

    def fault_for(self, request: Request, reply: Reply) -> Fault:
        """Return the first fault that wants this answer."""
        with self.lock:
            return next((fault for fault in self.faults if fault.takes(request, reply)), NO_FAULT)

    def gets(self, file: str) -> list[Request]:
        """Return the requests for the bytes of a file at either server."""
        name = urllib.parse.quote(file.rpartition("/")[2])
        return [seen for seen in self.requests if seen.method == "GET" and name in seen.target]


def content(source: bytes | Path) -> bytes | mmap.mmap:
    """Return a file's bytes without reading a large one into memory."""
    if isinstance(source, bytes):
        return source
    with Path(source).open("rb") as file:
        if not Path(source).stat().st_size:
            return b""
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, hub: Hub, name: str):
        self.hub, self.name = hub, name
        self.connections: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def start(self):
        self._thread.start()

    def stop(self):
        self.shutdown()
        for connection in tuple(self.connections):  # ends what stalls
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()

    def handle_error(self, *_):
        """A client that hangs up in the middle is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the client's delayed answer costs 40 ms for each body
    server: _Server

    def setup(self):
        super().setup()
        # Little is on the way when a client dies, so what was sent is about what it got.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * BLOCK_BYTES)
        self.server.connections.add(self.connection)

    def finish(self):
        self.server.connections.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_):
        pass

    def do_GET(self):
        hub = self.server.hub
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            server=self.server.name,
            method=self.command,
            target=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length) if length else b"",
        )
        hub.requests.append(request)
        reply = hub.signed(request) if self.server.name == "cdn" else hub.reply(request)
        with contextlib.suppress(ConnectionError):
            self._send(request, reply, hub.fault_for(request, reply))

    do_HEAD = do_POST = do_GET  # noqa: N815 - names of http.server

    def _send(self, request: Request, reply: Reply, fault: Fault):
        status, headers, body = spoil(reply, fault, request.headers.get("range"))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault.no_length or reply.no_length:
            self.send_header("Connection", "close")
            self.close_connection = True
        elif "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if request.method != "HEAD":
            self._send_body(reply, body, fault)

    def _send_body(self, reply: Reply, body: memoryview, fault: Fault):
        end = len(body) if fault.cut_after is None else min(fault.cut_after, len(body))
        block = BLOCK_BYTES if fault.bytes_per_second is None else 1
        for first in range(0, end, block):
            part = body[first : min(first + block, end)]
            # Counted first: a client that has the last byte may look at the counter at once.
            lasts = self.server.hub.sent(reply, len(part))
            try:
                self.connection.sendall(part)
            except ConnectionError:
                self.server.hub.sent(reply, -len(part))
                raise
            if not lasts and first + block < end:
                self._break("fin")
                return
            if fault.bytes_per_second is not None and self._hung_up(len(part) / fault.bytes_per_second):
                return
        if fault.cut_after is not None:
            self._break(fault.ending)

    def _hung_up(self, seconds: float) -> bool:
        """Wait, or until the client is gone."""
        self.connection.settimeout(seconds)
        try:
            return self.connection.recv(1) == b""
        except TimeoutError:
            return False
        finally:
            self.connection.settimeout(None)

    def _break(self, ending: str):
        self.close_connection = True
        if ending == "stall":
            while self.connection.recv(BLOCK_BYTES):
                pass
        elif ending == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)


def spoil(reply: Reply, fault: Fault, range_header: str | None):
    """Return status, headers and body as they go out: the range is cut, the fault is done."""
    status, headers, body = reply.status, dict(reply.headers), memoryview(reply.body)
    if fault.flip is not None and body:
        damaged = bytearray(body)
        damaged[fault.flip] ^= 1
        body = memoryview(damaged)
    if fault.body is not None:
        body = memoryview(fault.body)
    if reply.ranges:
        headers["Accept-Ranges"] = "bytes"
    if reply.ranges and range_header and not fault.ignore_range and fault.status is None:
        status, body = _cut(body, range_header, reply.ranges, headers)
    if fault.content_range is not None:
        headers["Content-Range"] = fault.content_range
    if fault.gzip:
        body = memoryview(gzip.compress(bytes(body)))
        headers["Content-Encoding"] = "gzip"
    if fault.extra:
        body = memoryview(bytes(body) + fault.extra)
    return fault.status or status, headers | fault.headers, body


def _cut(body: memoryview, range_header: str, style: str, headers: dict[str, str]):
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", range_header.strip())
    if found is None or not any(found.groups()):
        return 200, body
    size = len(body)
    first = int(found[1]) if found[1] else max(0, size - int(found[2]))
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if first >= size or last < first:
        headers["Content-Range"] = f"bytes */{size}"
        return 416, body[:0]
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return int(style), body[first : last + 1]
