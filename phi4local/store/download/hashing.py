"""The digest of a file, computed while its parts come."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK_BYTES = 4 * 2**20


class TrailingHash:
    """Hashes the closed beginning of a growing file on a thread of its own.

    So the digest is there a moment after the last byte, and bytes are read while they are still in memory.

    Args:
        path: the partial file.
        size_bytes: when so many are hashed, it is done.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._available = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._digest: str | None = None
        self._problem: OSError | None = None
        self.hashed_bytes = 0
        self._thread = threading.Thread(target=self._run, name="phi4local-hash", daemon=True)
        self._thread.start()

    def advance(self, prefix_bytes: int) -> None:
        """Tell how many bytes from the start are there without a gap."""
        with self._changed:
            self._available = prefix_bytes
            self._changed.notify()

    def stop(self) -> None:
        """Give up."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def wait(self, seconds: float) -> str | None:
        """Return the digest, 64 hex digits, or `None` when it is not ready after `seconds`.

        Raises:
            OSError: the file could not be read.
        """
        self._thread.join(seconds)
        if self._problem is not None:
            raise self._problem
        return self._digest

    def _run(self) -> None:
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(_BLOCK_BYTES))
        try:
            with self._path.open("rb", buffering=0) as file:
                while self.hashed_bytes < self._size_bytes:
                    room = self._wait_for_more()
                    if not room:
                        return
                    count = file.readinto(buffer[: min(room, _BLOCK_BYTES)])
                    if not count:
                        raise OSError(f"the file ends after {self.hashed_bytes:,} bytes")  # noqa: TRY301
                    digest.update(buffer[:count])
                    self.hashed_bytes += count
            self._digest = digest.hexdigest()
        except OSError as error:
            self._problem = error

    def _wait_for_more(self) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._available > self.hashed_bytes)
            return 0 if self._stopped else self._available - self.hashed_bytes
