"""HTTP to one server: bounded answers, no redirects, and a way to hang up from another thread.

With http.client of the standard library: it reads no proxy variables and follows nothing by itself.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import http.client
import json
import socket
import ssl
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from phi4local.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from phi4local.runtime.remote.address import Address

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 300.0
"""How long a server may say nothing. A long prompt on a slow machine takes minutes before its first token."""
MAX_BODY_BYTES = 256 * 2**20
"""Of an answer in one piece; the vectors of 2,048 texts have some 200 MB."""
MAX_LINE_BYTES = 2**20
MAX_STREAM_BYTES = 256 * 2**20
MAX_ERROR_BYTES = 64 * 2**10
_SHOWN_CHARACTERS = 300


class Server:
    """A server and how to talk to it.

    Args:
        address: where it is.
        api_key: sent as a bearer token; in no error and no `repr`.
        silence_seconds: longest wait for the next bytes.
        certificate_sha256: of the one certificate that is right, instead of those that authorities signed.
    """

    def __init__(
        self,
        address: Address,
        *,
        api_key: str | None,
        silence_seconds: float,
        certificate_sha256: str | None = None,
    ) -> None:
        self.address = address
        self.silence_seconds = silence_seconds
        self.certificate_sha256 = certificate_sha256
        self._api_key = api_key

    @property
    def has_key(self) -> bool:
        """Whether requests bring one."""
        return self._api_key is not None

    def without_key(self) -> Server:
        """Return the same server, to be asked without the key."""
        return Server(
            self.address,
            api_key=None,
            silence_seconds=self.silence_seconds,
            certificate_sha256=self.certificate_sha256,
        )

    def at(self, path: str) -> Server:
        """Return the same server below another path than `/v1`."""
        other = copy.copy(self)
        other.address = replace(self.address, path=path)
        return other

    def headers(self) -> dict[str, str]:
        """Return what every request carries."""
        key = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        return {"Accept": "application/json, text/event-stream", "User-Agent": "phi4local", **key}

    def error(
        self, problem: str, *, status: int | None = None, said: str = "", hint: str = ""
    ) -> RemoteError:
        """Return an error whose words of the server are short, printable and without the key."""
        said = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        if self._api_key:
            said = said.replace(self._api_key, "…")
        words = f": {said[:_SHOWN_CHARACTERS]}" if said else ""
        return RemoteError(str(self.address), f"{problem}{words}", status=status, hint=hint or None)

    def ask(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object that the server answers in one piece."""
        with Exchange(self, path, body) as exchange:
            return exchange.json()


class Exchange:
    """One request and its answer; `hang_up` from any thread ends it.

    Args:
        body: sent as JSON with POST; without one it is a GET.

    Raises:
        RemoteError: every way in which a server can fail.
    """

    def __init__(self, server: Server, path: str, body: dict[str, Any] | None = None) -> None:
        self._server = server
        self._path = server.address.path + path
        self._body = body
        self._connection = _connection_to(server)
        self._response: http.client.HTTPResponse | None = None
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self.hung_up = False

    def json(self) -> dict[str, Any]:
        """Send the request and return the JSON object that comes back."""
        with self._translated():
            data = self._opened().read(MAX_BODY_BYTES + 1)
        if len(data) > MAX_BODY_BYTES:
            raise self._server.error(f"sent over {MAX_BODY_BYTES:,} bytes")
        return self.decoded(data)

    def lines(self) -> Iterator[bytes]:
        """Send the request and yield the lines of the answer as they come, without their ends."""
        with self._translated():
            response, received = self._opened(), 0
            while line := response.readline(MAX_LINE_BYTES + 1):
                received += len(line)
                if len(line) > MAX_LINE_BYTES or received > MAX_STREAM_BYTES:
                    raise self._server.error("sent a line or an answer without an end")
                yield line.rstrip(b"\r\n")

    @property
    def content_type(self) -> str:
        """What the server says that its answer is, without parameters. Example: "text/event-stream"."""
        value = self._response.getheader("Content-Type", "") if self._response else ""
        return value.partition(";")[0].strip().lower()

    def decoded(self, data: bytes) -> dict[str, Any]:
        """Return a JSON object."""
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise self._server.error("sent something that is no JSON object", hint=_WRONG_SERVER)
        return value

    def hang_up(self) -> None:
        """End the exchange at once; whoever reads from it gets an error."""
        with self._lock:
            self.hung_up = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    # The plain call: SSLSocket's own takes the connection apart under the reader's feet.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._socket = None
        if self._response is not None:
            self._response.close()
        self._connection.close()

    def _opened(self) -> http.client.HTTPResponse:
        self._connection.connect()
        if self._server.certificate_sha256 is not None:
            self._require_certificate(self._server.certificate_sha256)
        with self._lock:
            self._socket = self._connection.sock
            if self.hung_up:
                raise ConnectionAbortedError("cancelled")
        self._connection.sock.settimeout(self._server.silence_seconds)
        headers = self._server.headers()
        if self._body is None:
            self._connection.request("GET", self._path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            self._connection.request("POST", self._path, json.dumps(self._body).encode(), headers)
        self._response = response = self._connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise self._refusal(response)
        return response

    def _require_certificate(self, digest: str) -> None:
        encrypted = self._connection.sock
        shown = encrypted.getpeercert(binary_form=True) if isinstance(encrypted, ssl.SSLSocket) else None
        if hashlib.sha256(shown or b"").hexdigest() != digest:
            raise self._server.error("shows another certificate than its own")

    def _refusal(self, response: http.client.HTTPResponse) -> RemoteError:
        status = response.status
        if 300 <= status < 400:
            problem = f"answers with a redirect ({status})"
            where = response.getheader("Location", "")
            return self._server.error(problem, status=status, said=where, hint=_REDIRECT)
        said = _server_words(response.read(MAX_ERROR_BYTES))
        hint = _HINTS.get(status) or (_HINTS[500] if status >= 500 else "")
        return self._server.error(f"refuses with status {status}", status=status, said=said, hint=hint)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise self._server.error("says nothing", hint=_HINTS[408]) from None
        except ConnectionRefusedError:
            raise self._server.error("is not there: nobody listens", hint=_NOBODY) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # ValueError: a TLS connection that was closed by another thread.
            said = f"{type(error).__name__} {error}"
            raise self._server.error("broke the connection", said=said, hint=_BROKEN) from None


def _connection_to(server: Server) -> http.client.HTTPConnection:
    host, port = server.address.host, server.address.port
    if not server.address.secure:
        return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)
    context = None
    if server.certificate_sha256 is not None:  # checked after the handshake, before anything is sent
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=context)


_WRONG_SERVER = "is it a server with OpenAI's interface? llama-server, vLLM and Ollama have it below /v1"
_REDIRECT = "redirects are not followed; use the address that it leads to, if you trust it"
_NOBODY = "start the server, or check host and port"
_BROKEN = "check the server's log, and whether it speaks http or https"
_HINTS = {
    400: "the server's words say what it does not take",
    401: "set PHI4LOCAL_API_KEY to the server's key",
    403: "the key has no right to this; PHI4LOCAL_API_KEY holds it",
    404: "check the path (usually /v1) and the model's name (#NAME behind the address)",
    408: "the server may be busy or overloaded: look at its log, or try again",
    413: "shorten the prompt",
    429: "the server has too much to do: wait and try again",
    500: "the fault is the server's: look at its log",
}


def _server_words(data: bytes) -> str:
    """Return the message of an error's body. Example: `{"error": {"message": "no"}}` → "no"."""
    text = data.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return message_of(value) or text


def message_of(value: object) -> str:
    """Return the words in the shapes that servers use: `error.message`, `error`, `message`, `detail`."""
    for _ in range(3):
        if not isinstance(value, dict):
            break
        value = next((value[key] for key in ("error", "message", "detail") if value.get(key)), "")
    return value if isinstance(value, str) else ""
