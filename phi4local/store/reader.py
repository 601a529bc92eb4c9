"""Read a file at a server without keeping it: any range, and the whole proved once it went by."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING, Self

from phi4local.errors import DamagedFileError, DownloadError
from phi4local.store import http
from phi4local.store.download.settings import DownloadSettings
from phi4local.store.download.stream import BusyError, opened

if TYPE_CHECKING:
    from collections.abc import Generator

    from phi4local.store.remote import RemoteFile

KEPT_BYTES = 64 * 2**20
"""The beginning of a file stays in memory up to here, so that its header may be read again and again."""
_SKIP_BYTES = 2**20


class RemoteReader:
    """A file at a server, read over one connection from front to back.

    What is skipped is read and hashed too, so that `finish` can prove all that was handed out. The first
    `KEPT_BYTES` may be read again at any time; behind them it goes forwards only. A connection that breaks is
    taken up where it broke. Several threads may read; they take turns.

    Example::

        with RemoteReader(file) as reader:
            header = reader.read(0, 8)
            tensor = reader.read(4096, 2**20)
            reader.finish()

    Args:
        file: from a source's `resolve`.
        settings: how patient.
    """

    def __init__(self, file: RemoteFile, settings: DownloadSettings | None = None) -> None:
        self._file = file
        self._settings = settings or DownloadSettings()
        self._lock = threading.Lock()
        self._digest = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
        self._beginning, self._ahead = bytearray(), bytearray()
        self._position = 0  # how far the file was handed out or skipped
        self._blocks: Generator[bytes, None, None] | None = None

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self._file.size_bytes

    def read(self, offset: int, count: int) -> bytes:
        """Return bytes of the file, fewer only at its end. They are proved by `finish`, not before.

        Raises:
            ValueError: it lies behind what went by, and not in the beginning that is kept.
            DownloadError: the server refuses, or its connections keep breaking.
        """
        with self._lock:
            end = min(offset + max(count, 0), self.size_bytes)
            kept_end = min(end, self._position)
            if offset < 0 or (offset < kept_end and kept_end > KEPT_BYTES):
                raise ValueError(f"byte {offset:,} went by; the reader is at {self._position:,}")
            kept = bytes(self._beginning[offset:kept_end])
            self._skip_to(offset)
            return kept + self._forward(max(0, end - max(offset, kept_end)))

    def finish(self) -> None:
        """Read what is left and compare the digest of everything.

        A file of which the server announced none is compared by its size only.

        Raises:
            DamagedFileError: it is another one; what was made of it must not be kept.
            DownloadError: as `read`.
        """
        with self._lock:
            self._skip_to(self.size_bytes)
            announced, found = self._file.sha256, self._digest.hexdigest()
            if announced is None and self._file.git_sha1:
                announced, found = self._file.git_sha1, self._git.hexdigest()
        if announced not in (None, found):
            raise DamagedFileError(
                f"`{self._file.path}` arrived damaged: digest {found}, announced {announced}",
                hint="nothing made of it was kept; try again, or another source",
            )

    def close(self) -> None:
        """Hang up."""
        if self._blocks is not None:
            self._blocks.close()
        self._blocks = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _skip_to(self, offset: int) -> None:
        while self._position < min(offset, self.size_bytes):
            self._forward(min(_SKIP_BYTES, offset - self._position))

    def _forward(self, count: int) -> bytes:
        """Return the next bytes, which count as gone by from then on."""
        while len(self._ahead) < count:
            self._ahead += self._more()
        data = bytes(self._ahead[:count])
        del self._ahead[:count]
        self._digest.update(data)
        self._git.update(data)
        self._beginning += data[: max(0, KEPT_BYTES - self._position)]
        self._position += count
        return data

    def _more(self) -> bytes:
        """Return the next block of the connection; a broken one is made again."""
        at = self._position + len(self._ahead)
        problem: Exception | None = None
        for attempt in range(self._settings.tries):
            if problem is not None:
                wait = self._settings.first_wait_seconds * 2 ** (attempt - 1)
                asked = getattr(problem, "wait_seconds", 0.0)
                time.sleep(min(max(wait, asked), self._settings.longest_pause_seconds))
            try:
                self._blocks = self._blocks or self._stream(at)
                block = next(self._blocks, b"")
            except (http.LostConnectionError, BusyError) as error:
                problem = error
            else:
                if block:
                    return block
                problem = http.LostConnectionError("the connection ended early")
            self.close()
        raise DownloadError(f"`{self._file.path}` cannot be read: {problem}") from problem

    def _stream(self, offset: int) -> Generator[bytes, None, None]:
        with opened(self._file, offset, self.size_bytes, self._settings) as part:
            yield from part.blocks
