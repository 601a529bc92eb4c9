"""One answer of a server with a part of a file, checked before its first byte counts."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.errors import DownloadError, FileChangedError
from phi4local.store import http
from phi4local.store.download.settings import DownloadSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.store.remote import RemoteFile

_AGAIN = {401, 403, 408, 410, 425, 429, 500, 502, 503, 504}
_REFUSALS = {401, 403, 410}
_REDIRECTS = {301, 302, 303, 307, 308}


class BusyError(Exception):
    """An answer that may be another one later, after `wait_seconds` if the server says so."""

    def __init__(self, status: int, wait_seconds: float = 0.0) -> None:
        super().__init__(f"the server answers with status {status}")
        self.wait_seconds = wait_seconds


class StalledError(http.LostConnectionError):
    """A stream that brings next to nothing."""


@dataclass(frozen=True, slots=True)
class Part:
    """An open answer.

    Attributes:
        blocks: the bytes from `begin` on.
        ranged: whether the server sends what it is asked for; otherwise it sends everything from the start.
    """

    blocks: Iterator[bytes]
    ranged: bool


class Route:
    """Where a file's bytes were found last: hubs count how often they are asked for a signed address."""

    def __init__(self, file: RemoteFile) -> None:
        self.url = file.url


@contextlib.contextmanager
def opened(
    file: RemoteFile, begin: int, end: int, settings: DownloadSettings, route: Route | None = None
) -> Iterator[Part]:
    """Ask for the bytes from `begin` up to `end` and yield what comes, also of a server without ranges.

    With a `route` the address that worked last is asked first. One that has expired (401, 403 or 410 from a
    host that was redirected to) is `BusyError`: the next attempt begins at the origin and gets a new one.

    Raises:
        DownloadError: the server refuses, or sends another file.
        LostConnectionError, BusyError: try again.
    """
    route = route or Route(file)
    here, refreshed = route.url, False
    direct, route.url = here != file.url, file.url
    headers = {"Range": f"bytes={begin}-{end - 1}"} if end > begin else {}
    for _ in range(http.MOST_REDIRECTS + 1):
        with http.send(here, file.credentials, headers, read_seconds=settings.stall_seconds) as response:
            found = {name.lower(): value for name, value in response.headers.items()}
            status = response.status_code
            if status in (200, 206):
                at, ranged = _offset(file, status, found, begin), "content-range" in found
                last = end if ranged else file.size_bytes
                route.url = here
                yield Part(_cut(_steady(response, settings), at, begin, last), ranged)
                return
            own = http.origin_of(here) == file.credentials.origin  # no other host may ask for a token
            if status == 401 and own and not refreshed and file.credentials.refresh(found):
                refreshed = True
                continue
            if direct and status not in _REDIRECTS:
                raise BusyError(status, http.asked_to_wait(found) or 0.0)
            if status not in _REDIRECTS or "location" not in found:
                _refuse(file, here, status, found)
        here = http.next_address(here, found["location"])
    raise DownloadError(
        f"`{file.path}`: the server redirects in a circle", hint="try again later, or another source"
    )


def read_range(
    file: RemoteFile, offset: int, count: int, *, settings: DownloadSettings | None = None
) -> bytes:
    """Return bytes of a file at a server, as many as there are; nothing is kept on disk.

    Example: `read_range(file, 0, 4)` of a GGUF file is `b"GGUF"`.

    Raises:
        DownloadError: the server refuses, or its connections keep breaking.
    """
    settings = settings or DownloadSettings()
    end, body = min(offset + count, file.size_bytes), bytearray()
    problem: Exception | None = None
    for attempt in range(settings.tries):
        if len(body) >= end - offset:
            break
        if problem is not None:
            time.sleep(min(settings.longest_wait_seconds, settings.first_wait_seconds * 2 ** (attempt - 1)))
        try:
            with opened(file, offset + len(body), end, settings) as part:
                for block in part.blocks:
                    body += block
            problem = http.LostConnectionError("the connection ended early")
        except (http.LostConnectionError, BusyError) as error:
            problem = error
    if len(body) < end - offset:
        raise DownloadError(f"`{file.path}` cannot be read: {problem}")
    return bytes(body[: end - offset])


def _refuse(file: RemoteFile, here: str, status: int, headers: dict[str, str]) -> None:
    # A signed address at another host expires; at the origin 401 and 403 are an answer.
    if status in _AGAIN and not (status in _REFUSALS and here == file.url):
        raise BusyError(status, http.asked_to_wait(headers) or 0.0)
    if status == 416:
        raise FileChangedError(f"`{file.path}` is shorter on the server than when it was looked up")
    raise DownloadError(
        f"`{file.path}` cannot be fetched: the server answers with status {status}",
        hint="log in, or ask for access" if status in (401, 403) else "try again later, or another source",
    )


def _offset(file: RemoteFile, status: int, headers: dict[str, str], begin: int) -> int:
    """Return where the body of an answer begins in the file; ModelScope answers a range with status 200.

    Raises:
        DownloadError: it is a web page, compressed, or of another file.
    """
    if "text/html" in headers.get("content-type", ""):
        raise DownloadError(
            f"instead of `{file.path}` came a web page", hint="is there a login page or a proxy between?"
        )
    if headers.get("content-encoding", "identity") not in ("", "identity"):
        raise DownloadError(
            f"`{file.path}` came compressed, which was not asked for",
            hint="a proxy between may do that; try another source",
        )
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("content-range", "").strip())
    if found is None:
        length = headers.get("content-length", "")
        if status == 206 or (length.isdecimal() and int(length) != file.size_bytes):
            raise FileChangedError(f"`{file.path}` is not the file on the server that was looked up")
        return 0
    if found[3] not in ("*", str(file.size_bytes)):
        raise FileChangedError(
            f"`{file.path}` has {found[3]} bytes on the server now, {file.size_bytes} when it was looked up"
        )
    if int(found[1]) != begin:
        raise DownloadError(f"`{file.path}`: the server sent another part than it was asked for")
    return begin


def _steady(response: Any, settings: DownloadSettings) -> Iterator[bytes]:  # noqa: ANN401
    """Yield the blocks of a body, as long as they come fast enough."""
    since, came = time.monotonic(), 0
    for block in response.iter_raw():
        yield block
        came += len(block)
        now = time.monotonic()
        if now - since >= settings.stall_seconds:
            if came < settings.slow_bytes_per_second * settings.stall_seconds:
                raise StalledError(f"{came:,} bytes in {now - since:.0f} seconds")
            since, came = now, 0


def _cut(blocks: Iterator[bytes], at: int, begin: int, end: int) -> Iterator[bytes]:
    """Yield what lies from `begin` on; the body begins at byte `at` of the file.

    What a body has behind `end` is passed on when it was to end there: whoever writes knows that it is wrong.
    """
    for block in blocks:
        skipped = min(max(begin - at, 0), len(block))
        at += len(block)
        if len(block) > skipped:
            yield block[skipped:] if skipped else block
        if at > end:
            return
