"""The 28 ways in which a download goes wrong, as data, and how each has to end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from phi4local.store.download import DownloadSettings
from tests.hubs import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

IMPATIENT = DownloadSettings(
    connections=3,
    part_bytes=64 * 1024,
    record_bytes=32 * 1024,
    stall_seconds=0.4,
    slow_bytes_per_second=2000,
    tries=4,
    progress_bytes=4096,
    first_wait_seconds=0.01,
    longest_wait_seconds=0.05,
    longest_pause_seconds=0.2,
)
ALWAYS = 10**9


@dataclasses.dataclass(frozen=True)
class Case:
    """One way.

    Attributes:
        faults: of the hub, made anew for each run; `origin` and `cdn` routes are filled in by the test.
        says: part of the error's message, or empty when the download has to succeed.
        address: changes the file's address.
        early: the file is fetched with the connection cut at half first, by another download.
    """

    faults: Callable[[], list[Fault]] = list
    says: str = ""
    address: Callable[[str], str] | None = None
    early: bool = False


def cdn(**what) -> Callable[[], list[Fault]]:
    """Return a maker of one fault of the server that has the bytes."""
    return lambda: [Fault(route="cdn", method="GET", **what)]


def origin(**what) -> Callable[[], list[Fault]]:
    """Return a maker of one fault of the hub itself."""
    return lambda: [Fault(route="origin", method="GET", **what)]


PAGE = b"<!DOCTYPE html><title>Log in to use this network</title>"
FAULTS = {
    "refused": Case(says="does not come", address=lambda _url: "http://127.0.0.1:9/file"),
    "no such host": Case(says="does not come", address=lambda _url: "http://nowhere.invalid/file"),
    "no TLS there": Case(says="does not come", address=lambda url: url.replace("http://", "https://")),
    "401": Case(origin(status=401, times=ALWAYS), "status 401"),
    "403": Case(origin(status=403, times=ALWAYS), "status 403"),
    "403 once, from an expired signature": Case(cdn(status=403, skip=1)),
    "404": Case(origin(status=404, times=ALWAYS), "status 404"),
    "410": Case(origin(status=410, times=ALWAYS), "status 410"),
    "416": Case(cdn(status=416, times=ALWAYS), "shorter"),
    "429 with Retry-After": Case(cdn(status=429, headers={"Retry-After": "1"}, times=2)),
    "500": Case(cdn(status=500, times=ALWAYS), "status 500"),
    "502 twice": Case(cdn(status=502, times=2)),
    "503, then right": Case(cdn(status=503, times=3)),
    "200 instead of 206": Case(cdn(ignore_range=True, times=ALWAYS)),
    "wrong Content-Range": Case(
        cdn(content_range="bytes 7-70/300000", times=ALWAYS), "another part than it was asked for"
    ),
    "another size in Content-Range": Case(cdn(content_range="bytes 0-65535/9", times=ALWAYS), "9 bytes"),
    "no Content-Length": Case(cdn(no_length=True, times=ALWAYS)),
    "too long": Case(cdn(extra=b"more", times=ALWAYS), "more came"),
    "too short": Case(cdn(cut_after=20_000, times=5)),
    "always too short": Case(cdn(cut_after=100, times=ALWAYS), "does not come"),
    "reset at byte k": Case(cdn(cut_after=30_001, ending="reset", times=4)),
    "stall before the first byte": Case(cdn(cut_after=0, ending="stall", times=2)),
    "stall in the middle": Case(cdn(cut_after=33_333, ending="stall", times=2)),
    "1 byte a second": Case(cdn(bytes_per_second=20, times=2)),
    "gzip that nobody asked for": Case(cdn(gzip=True, times=ALWAYS), "compressed"),
    "a login page": Case(
        cdn(status=200, body=PAGE, headers={"Content-Type": "text/html"}, times=ALWAYS), "web page"
    ),
    "wrong bytes of the right size": Case(cdn(flip=0, times=ALWAYS), "damaged twice"),
    "one flipped bit, once": Case(cdn(flip=100_000, times=1)),
    "another file after half of it": Case(early=True),
    "a circle of redirects": Case(
        origin(status=302, headers={"Location": "?again"}, times=ALWAYS), "in a circle"
    ),
    "a redirect to no web address": Case(
        origin(status=302, headers={"Location": "ftp://h/x"}, times=ALWAYS), "no address of the web"
    ),
    "a redirect to a host that is gone": Case(
        origin(status=302, headers={"Location": "http://127.0.0.1:9/x"}, times=ALWAYS), "does not come"
    ),
}
