"""The streams that fetch one file together."""

from __future__ import annotations

import collections
import random
import threading
import time
from typing import TYPE_CHECKING

from phi4local.errors import DownloadError, Phi4LocalError
from phi4local.store import http
from phi4local.store.download.ledger import Ledger
from phi4local.store.download.settings import DownloadSettings, Report
from phi4local.store.download.stream import BusyError, Route, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.store.remote import RemoteFile

_TELL_SECONDS = 0.1
_RATE_SECONDS = 5.0
_WAIT_SECONDS = 0.05
_ENDING_SECONDS = 0.5
"""For the streams to write what they have when one of them failed, or a person pressed Ctrl-C."""


class Transfer:
    """One file on its way into `folder`.

    Each stream takes the next part that is missing, appends what comes, and comes back when its connection
    breaks; nothing that came is asked for again. The first one shows whether the server sends parts at all:
    until then the others wait, and if it does not, they end.

    Args:
        file: what to fetch.
        folder: where the partial file and its record are.
        settings: how.
        tell: takes the reports; called on the thread of `run`.

    Raises:
        OSError: the partial file cannot be opened.
    """

    def __init__(
        self, file: RemoteFile, folder: Path, settings: DownloadSettings, tell: Callable[[Report], None]
    ) -> None:
        self._file, self._settings = file, settings
        self._ledger = Ledger(file, folder, settings)
        self._teller = _Teller(file, self._ledger.reused_bytes, tell)
        self._route = Route(file)
        self._stop = threading.Event()
        self._ranged = threading.Event()
        self._lock = threading.Lock()  # for everything below
        self._problem: Phi4LocalError | OSError | None = None
        self._failures = self._progress_bytes = 0
        self._streams = 1
        self._note = ""

    @property
    def partial(self) -> Path:
        """The file that is written."""
        return self._ledger.partial

    def run(self) -> str:
        """Fetch what is missing and return the SHA-256 of the whole file, 64 hex digits.

        Raises:
            DownloadError: the server gave up, refuses, or sends something else.
            OSError: the operating system refused; what came is kept.
        """
        parts = -(-self._ledger.missing_bytes // self._settings.part_bytes)
        self._streams = max(1, min(self._settings.connections, parts))
        threads = [
            threading.Thread(
                target=self._work, args=(number,), name=f"phi4local-stream-{number}", daemon=True
            )
            for number in range(min(parts, self._streams))
        ]
        try:
            for thread in threads:
                thread.start()
            self._teller.tell(self._ledger.done_bytes, force=True)
            self._watch(threads)
            digest = self._digest()
            self._ledger.finish()
            return digest
        finally:
            self._stop.set()
            last = time.monotonic() + _ENDING_SECONDS
            for thread in threads:
                if thread.is_alive():
                    thread.join(max(0.0, last - time.monotonic()))
            # A stream that still waits for its server must not write into another file later.
            self._ledger.close(unused=not any(thread.is_alive() for thread in threads))

    def _watch(self, threads: list[threading.Thread]) -> None:
        while running := [thread for thread in threads if thread.is_alive()]:
            running[0].join(_WAIT_SECONDS)
            if self._problem is not None:
                break
            self._teller.tell(self._ledger.done_bytes, self._note)
            self._ledger.sync()
        if self._problem is not None:
            raise self._problem
        if self._ledger.missing_bytes:
            raise DownloadError(f"`{self._file.path}` is not complete")

    def _digest(self) -> str:
        while (digest := self._ledger.hash.wait(_WAIT_SECONDS)) is None:
            self._teller.tell(self._ledger.done_bytes, "checking what came")
        self._teller.tell(self._ledger.done_bytes, force=True)
        return digest

    def _work(self, number: int) -> None:
        try:
            while number and not self._ranged.wait(_WAIT_SECONDS) and not self._stop.is_set():
                pass
            while not self._stop.is_set() and (part := self._ledger.next_part()) is not None:
                self._bring(*part)
        except (Phi4LocalError, OSError) as error:  # raised again on the thread of `run`
            with self._lock:
                self._problem = self._problem or error
            self._stop.set()
        finally:
            if not number:
                self._ranged.set()

    def _bring(self, begin: int, end: int) -> None:
        """Fetch a part, in as many attempts as it takes."""
        route = self._route
        while begin < end and not self._stop.is_set():
            try:
                with opened(self._file, begin, end, self._settings, route) as part:
                    if part.ranged:
                        self._ranged.set()
                    else:  # everything comes, so this stream takes everything
                        end = self._ledger.take_all()
                    for block in part.blocks:
                        begin = self._ledger.write(block, begin, end)
                        self._came(len(block))
                        if self._stop.is_set():
                            return
                if begin < end:
                    self._try_again(http.LostConnectionError("the connection ended early"))
            except (http.LostConnectionError, BusyError) as error:
                self._try_again(error)

    def _came(self, count: int) -> None:
        with self._lock:
            self._note = ""
            self._progress_bytes += count
            if self._progress_bytes >= self._settings.progress_bytes:
                self._failures = self._progress_bytes = 0

    def _try_again(self, error: Exception) -> None:
        """Wait before the next attempt, or give up."""
        settings = self._settings
        with self._lock:
            self._failures += 1
            # A network that is away breaks all streams at once: that is one failure, not several.
            failures = -(-self._failures // (self._streams if self._ranged.is_set() else 1))
        if failures >= settings.tries:
            raise DownloadError(
                f"`{self._file.path}` does not come: {error}",
                hint="what came is kept: the same command goes on there",
            ) from error
        wait = min(settings.longest_wait_seconds, settings.first_wait_seconds * 2 ** (failures - 1))
        wait *= random.uniform(0.8, 1.2)  # noqa: S311
        if isinstance(error, BusyError):
            wait = min(max(wait, error.wait_seconds), settings.longest_pause_seconds)
        self._note = f"{error}; trying again in {wait:.0f} s" if wait >= 1 else f"{error}; trying again"
        self._stop.wait(wait)


class _Teller:
    """Reports ten times a second, never going backwards."""

    def __init__(self, file: RemoteFile, reused_bytes: int, tell: Callable[[Report], None]) -> None:
        self._file, self._reused_bytes, self._tell = file, reused_bytes, tell
        self._samples: collections.deque[tuple[float, int]] = collections.deque()

    def tell(self, done_bytes: int, note: str = "", *, force: bool = False) -> None:
        now = time.monotonic()
        if self._samples and now - self._samples[-1][0] < _TELL_SECONDS and not force:
            return
        self._samples.append((now, done_bytes))
        while now - self._samples[0][0] > _RATE_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        self._tell(
            Report(
                file=self._file,
                done_bytes=done_bytes,
                reused_bytes=self._reused_bytes,
                bytes_per_second=(done_bytes - before) / (now - since) if now - since > 0.2 else 0.0,
                note=note,
            )
        )
