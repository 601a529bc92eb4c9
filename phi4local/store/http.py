"""The one place of the store that opens sockets: redirects, credentials, limits and proxies under our rules.

The library is the one that huggingface_hub brings. Redirects are followed by hand: a library that does it
decides by itself what a foreign host is told.
"""

from __future__ import annotations

import atexit
import contextlib
import email.utils
import functools
import importlib.metadata
import ipaddress
import json
import os
import random
import re
import time
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.errors import DownloadError, OfflineError
from phi4local.store.quiet import no_logs
from phi4local.store.reference_words import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SMALL_BYTES = 4 * 2**20
"""Most that a listing, a manifest or a template may have."""
MOST_REDIRECTS = 10
READ_SECONDS, CONNECT_SECONDS = 30.0, 10.0
TRIES, FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 4, 0.5, 60.0
_REDIRECTS = {301, 302, 303, 307, 308}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}


class Credentials:
    """Headers for one origin (scheme, host and port) and nobody else.

    Example: `Credentials("https://huggingface.co", {"Authorization": "Bearer hf_…"}).headers_for(url)` is
    empty for every address of another host.
    """

    def __init__(self, origin: str, headers: Mapping[str, str] | None = None) -> None:
        self.origin = origin_of(origin)
        self._headers = dict(headers or {})

    def headers_for(self, url: str) -> dict[str, str]:
        """Return what is sent to this address; nothing without encryption, except to this machine."""
        private = self.origin.startswith("https://") or is_loopback(self.origin.partition("//")[2])
        return dict(self._headers) if private and origin_of(url) == self.origin else {}

    def refresh(self, headers: Mapping[str, str]) -> bool:
        """Answer a 401 of the origin; true when it is worth asking again. These cannot."""
        del headers
        return False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.origin})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer. Header names are in lower case; `url` is where it came from in the end."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str

    def json(self) -> Any:  # noqa: ANN401
        """Return the body as JSON.

        Raises:
            DownloadError: it is none.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            hint = "is this the right address? a login page or a proxy may have answered"
            raise DownloadError(
                f"{shown(self.url)} answered with something else than JSON", hint=hint
            ) from error


def get(
    url: str,
    *,
    credentials: Credentials,
    limit_bytes: int = SMALL_BYTES,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Fetch a small body, whatever the status is; busy servers and lost connections are asked again.

    Raises:
        OfflineError: no connection may be made.
        DownloadError: no answer after several tries, a redirect that is refused, or too long a body.
    """
    fault: DownloadError | None = None
    refreshed = False
    tries = 0
    while True:
        try:
            reply = _once(url, credentials, limit_bytes, headers or {})
        except LostConnectionError as error:
            reply, fault = None, DownloadError(f"cannot reach {origin_of(url)}: {error}")
        # A host that was redirected to has nothing to ask: only the origin gets a new token.
        asked = reply and reply.status == 401 and origin_of(reply.url) == credentials.origin
        if reply and asked and not refreshed and credentials.refresh(reply.headers):
            refreshed = True
            continue
        tries += 1
        wait = FIRST_WAIT_SECONDS * 2 ** (tries - 1) * random.uniform(0.8, 1.2)  # noqa: S311
        if reply is not None:
            wait = max(wait, asked_to_wait(reply.headers) or 0.0)
            if reply.status not in _AGAIN or wait > LONGEST_WAIT_SECONDS or tries == TRIES:
                return reply
        elif tries == TRIES and fault:
            raise fault
        time.sleep(wait)


class LostConnectionError(Exception):
    """A connection that failed, before or during an answer."""


def _once(url: str, credentials: Credentials, limit_bytes: int, headers: Mapping[str, str]) -> Reply:
    here = url
    for _ in range(MOST_REDIRECTS + 1):
        with send(here, credentials, headers) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            if response.status_code not in _REDIRECTS or "location" not in found:
                body = _body(response, limit_bytes, here)
                return Reply(status=response.status_code, headers=found, body=body, url=here)
        here = next_address(here, found["location"])
    raise DownloadError(f"{origin_of(url)} redirects in a circle", hint="try again later, or another source")


def _body(response: Any, limit_bytes: int, url: str) -> bytes:  # noqa: ANN401
    body = bytearray()
    for block in response.iter_bytes():
        body += block
        if len(body) > limit_bytes:
            raise DownloadError(f"{shown(url)} answered with more than {limit_bytes:,} bytes")
    return bytes(body)


@contextlib.contextmanager
def send(
    url: str,
    credentials: Credentials,
    headers: Mapping[str, str],
    *,
    read_seconds: float = READ_SECONDS,
    connect_seconds: float = CONNECT_SECONDS,
) -> Iterator[Any]:
    """Ask once, without following a redirect; the body is read by the caller.

    A silence of `read_seconds` is a lost connection, and so is a host that takes none in `connect_seconds`.
    """
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # whichever httpx it uses

    if is_offline():
        raise OfflineError(origin_of(url))
    sent = {"Accept-Encoding": "identity", **headers, **credentials.headers_for(url)}
    timeout = httpx.Timeout(read_seconds, connect=connect_seconds, pool=None)
    try:
        local = is_loopback(urllib.parse.urlsplit(url).netloc)
        with no_logs(), _client(local).stream("GET", url, headers=sent, timeout=timeout) as response:
            yield response
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        line = re.sub(r"https?://\S+", lambda found: shown(found[0]), lines[0])
        raise LostConnectionError(line[:200]) from None


@functools.cache
def _client(local: bool) -> Any:  # noqa: ANN401, FBT001
    """Return the client; a proxy is never asked for an address of this machine."""
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined] # whichever httpx it uses

    agent = {"User-Agent": f"phi4local/{importlib.metadata.version('phi4local')}"}
    try:
        client = httpx.Client(follow_redirects=False, headers=agent, trust_env=not local)
    except (ImportError, ValueError) as error:  # a SOCKS proxy, or no address at all
        hint = "set HTTPS_PROXY to http://HOST:PORT, or unset it"
        raise DownloadError("the proxy of the environment cannot be used", hint=hint) from error
    atexit.register(client.close)
    return client


def is_offline() -> bool:
    """Return whether no connection may be made: `PHI4LOCAL_OFFLINE`, or `HF_HUB_OFFLINE` as everywhere."""
    return any(
        os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on")
        for name in ("PHI4LOCAL_OFFLINE", "HF_HUB_OFFLINE")
    )


def next_address(url: str, location: str) -> str:
    """Return where a redirect leads.

    Raises:
        DownloadError: to no encryption, or from another machine to this one or its network.
    """
    try:
        target = urllib.parse.urljoin(url, location)
        parts, before = urllib.parse.urlsplit(target), urllib.parse.urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise DownloadError(f"{origin_of(url)} redirects to no address") from error
    if parts.scheme not in ("http", "https") or not host:
        raise DownloadError(f"{origin_of(url)} redirects to no address of the web")
    if before.scheme == "https" and parts.scheme == "http":
        raise DownloadError(f"{origin_of(url)} redirects to {shown(target)}, without encryption")
    if _is_private(host) and not _is_private(before.hostname or ""):
        raise DownloadError(f"{origin_of(url)} redirects to {host}, which is no address of the internet")
    return target


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks for: `Retry-After`, or `t=` of Hugging Face's `RateLimit`.

    Examples: `Retry-After: 2` → 2; `RateLimit: "resolvers";r=0;t=7` → 7; a date → the seconds until then.
    """
    after = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", after):
        return float(after)
    if after:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, email.utils.parsedate_to_datetime(after).timestamp() - time.time())
    found = re.search(r"(?:^|;)\s*r=0\s*;\s*t=([0-9]{1,9})", headers.get("ratelimit", ""))
    return float(found[1]) if found else None


def origin_of(url: str) -> str:
    """Return scheme, host and port in lower case. Example: `https://HF.co/x?y` → `https://hf.co`."""
    try:
        parts = urllib.parse.urlsplit(url)
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        port = f":{parts.port}" if parts.port not in (None, usual) else ""
        return f"{parts.scheme}://{(parts.hostname or '').lower()}{port}"
    except ValueError:
        return "an address that cannot be read"


def shown(url: str) -> str:
    """Return an address for people: without the query, where signatures are, and without a password."""
    with contextlib.suppress(ValueError):
        return origin_of(url) + urllib.parse.urlsplit(url).path[:200]
    return origin_of(url)
