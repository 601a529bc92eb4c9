"""The partial file of a download, and the account of which of its bytes are here."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

from phi4local.errors import DownloadError
from phi4local.store.download.hashing import TrailingHash
from phi4local.store.download.ranges import Ranges
from phi4local.store.download.state import RECORD, State

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.store.download.settings import DownloadSettings
    from phi4local.store.remote import RemoteFile


class Ledger:
    """Gives out parts that are missing, writes what came, and keeps the record for the next process.

    All methods may be called by any thread.

    Args:
        file: what is fetched.
        folder: where the partial file and its record are; an earlier try's are gone on with.
        settings: how much a part and how much between two records.

    Attributes:
        partial: the partial file.
        hash: computes its digest meanwhile.
        reused_bytes: what was here before.

    Raises:
        OSError: the operating system refused.
    """

    def __init__(self, file: RemoteFile, folder: Path, settings: DownloadSettings) -> None:
        self._file, self._settings = file, settings
        self.partial = folder / "file"
        self._state = State(folder / RECORD, file)
        self._lock = threading.Lock()
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self.partial, flags, 0o644)
        size = os.fstat(self._descriptor).st_size
        self._done = self._state.read(size if size <= file.size_bytes else 0)
        self._synced, self._synced_at = Ranges(self._done), time.monotonic()
        self._unrecorded = 0
        if not self._done.total:
            os.ftruncate(self._descriptor, 0)
        self.reused_bytes = self._done.total
        self._gaps = self._done.missing(file.size_bytes)
        self.hash = TrailingHash(self.partial, file.size_bytes)
        self.hash.advance(self._done.prefix)

    @property
    def done_bytes(self) -> int:
        """How many bytes are here."""
        with self._lock:
            return self._done.total

    @property
    def missing_bytes(self) -> int:
        """How many are not."""
        return self._file.size_bytes - self.done_bytes

    def next_part(self) -> tuple[int, int] | None:
        """Take the first bytes that nobody fetches, from begin up to end; `None` when there are none."""
        with self._lock:
            if not self._gaps:
                return None
            begin, end = self._gaps.pop(0)
            middle = min(end, begin + self._settings.part_bytes)
            if middle < end:
                self._gaps.insert(0, (middle, end))
            return begin, middle

    def take_all(self) -> int:
        """Take everything that nobody fetches, for a server that has no parts; return where it ends."""
        with self._lock:
            self._gaps.clear()
        return self._file.size_bytes

    def write(self, block: bytes, begin: int, end: int) -> int:
        """Write what came at `begin`, and return where the next byte goes.

        Raises:
            DownloadError: it is more than what was asked for.
            OSError: the operating system refused.
        """
        if begin + len(block) > end:
            raise DownloadError(
                f"`{self._file.path}`: more came than the server announced",
                hint="try again later, or another source",
            )
        write_at(self._descriptor, block, begin, self._lock)
        with self._lock:
            self._done.add(begin, begin + len(block))
            self.hash.advance(self._done.prefix)
            self._unrecorded += len(block)
            if self._unrecorded >= self._settings.record_bytes:
                self._record()
        return begin + len(block)

    def sync(self) -> None:
        """Force to the disk what was written, now and then; writing goes on meanwhile."""
        if time.monotonic() - self._synced_at < self._settings.sync_seconds:
            return
        with self._lock:
            written = Ranges(self._done)
        os.fsync(self._descriptor)
        with self._lock:
            self._synced, self._synced_at = written, time.monotonic()
            self._record()

    def finish(self) -> None:
        """Force everything to the disk: the file is about to get its name."""
        os.fsync(self._descriptor)

    def close(self, *, unused: bool) -> None:
        """Write the last record; close the file if nobody writes to it any more."""
        self.hash.stop()
        with contextlib.suppress(OSError), self._lock:
            self._record()
        if unused:
            os.close(self._descriptor)

    def _record(self) -> None:
        self._state.write(self._done, self._synced)
        self._unrecorded = 0


def write_at(descriptor: int, data: bytes, offset: int, lock: threading.Lock) -> None:
    """Write all of `data` at a place of a file; Windows has no call for that: there one writes at a time."""
    view = memoryview(data)
    while view:
        if hasattr(os, "pwrite"):
            count = os.pwrite(descriptor, view, offset)
        else:
            with lock:
                os.lseek(descriptor, offset, os.SEEK_SET)
                count = os.write(descriptor, view)
        view, offset = view[count:], offset + count
