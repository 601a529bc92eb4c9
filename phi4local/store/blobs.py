"""Blobs: the files themselves, each called after its SHA-256, read-only once they are there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Any

from phi4local import files
from phi4local.store.home import blobs_folder, models_folder
from phi4local.store.paths import safe_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_READ_BYTES = 4 * 2**20
_READ_ONLY = 0o444
_DAMAGED = "damaged"
_RECORD_BYTES = 4 * 2**20


def blob_path(digest: str) -> Path:
    """Return the file of a blob, there or not. Example: `~/.phi4local/models/blobs/sha256-fd7b…`.

    Raises:
        UnsafeNameError: no digest.
    """
    return blobs_folder() / f"sha256-{safe_digest(digest)}"


def is_here(digest: str, size_bytes: int) -> bool:
    """Return whether a regular file of this size is under the digest's name; its bytes are not read.

    A file that was once found to be damaged is not here, until it changes.
    """
    path = blob_path(digest)
    try:
        whole = path.is_file() and path.stat().st_size == size_bytes
        return whole and not is_known_to_be_damaged(digest)
    except OSError:
        return False


def hash_file(path: Path, *, progress: Callable[[int], None] = lambda _count: None) -> str:
    """Return the SHA-256 of a file, 64 hex digits; `progress` is told how many bytes were read each time.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        buffer = memoryview(bytearray(_READ_BYTES))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            progress(count)
    return digest.hexdigest()


def take(temporary: Path, digest: str) -> Path:
    """Give a finished file of the store's disk its digest's name; the caller has proved the digest.

    Raises:
        FileWriteError: the operating system refused.
    """
    path = blob_path(digest)
    _make_folder()
    files.adopt(temporary, path)
    with contextlib.suppress(OSError):
        path.chmod(_READ_ONLY)
    remember_verified(digest)
    return path


def add(data: bytes) -> str:
    """Keep a small blob, such as a template, and return its digest.

    Raises:
        FileWriteError: the operating system refused.
    """
    digest = hashlib.sha256(data).hexdigest()
    path = blob_path(digest)
    if not is_here(digest, len(data)) or hash_file(path) != digest:
        _make_folder()
        with files.new_file(path, overwrite=True) as file:
            file.write(data)
        with contextlib.suppress(OSError):
            path.chmod(_READ_ONLY)
        remember_verified(digest)
    keep_fresh(path)
    return digest


def keep_fresh(path: Path) -> None:
    """Mark a blob as just used, so that `prune` leaves it alone until its manifest is there.

    Setting its mode again changes nothing but the time of its last change of state; the time of its content,
    by which `is_verified` knows it, stays. Files that other tools have too are not touched.
    """
    with contextlib.suppress(OSError):
        state = path.lstat()
        if stat.S_ISREG(state.st_mode) and state.st_nlink == 1:
            path.chmod(stat.S_IMODE(state.st_mode))


def idle_seconds(path: Path) -> float:
    """Return how long ago a blob, or a link to one, was made or used.

    Raises:
        OSError: it is not there.
    """
    state = path.lstat()
    return time.time() - max(state.st_mtime, state.st_ctime)


def remove(digest: str) -> int:
    """Delete a blob; return the bytes that became free, 0 for a link to another tool's file.

    Raises:
        FileWriteError: the operating system refused.
    """
    path = blob_path(digest)
    try:
        state = path.lstat()
        if os.name == "nt":
            path.chmod(0o644)
        path.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise files.write_error(path, error) from error
    return state.st_size if state.st_nlink == 1 and not os.path.islink(path) else 0  # noqa: PTH114


def remember_verified(*digests: str) -> None:
    """Note that blobs were hashed and are right, so that opening one costs a look at its size and time."""
    record = _record()
    for digest in digests:
        record[digest] = identity(blob_path(digest))
    _write_record(record)


def remember_damaged(digest: str) -> None:
    """Note that a blob has other bytes than its name says: it counts as absent, and is got again."""
    _write_record(_record() | {digest: [_DAMAGED, identity(blob_path(digest))]})


def is_known_to_be_damaged(digest: str) -> bool:
    """Return whether this very file was hashed and found wrong."""
    return _record().get(digest) == [_DAMAGED, identity(blob_path(digest))]


def unverified(digests: Iterable[str]) -> list[str]:
    """Return the blobs that are not the very files that were hashed: inode, size or time have changed."""
    record = _record()
    return [digest for digest in digests if record.get(digest) != identity(blob_path(digest))]


def identity(path: Path) -> list[int] | None:
    """Return device, inode, size and time of a file, or `None` if it is not there."""
    try:
        state = path.stat()
    except OSError:
        return None
    return [state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns]


def _write_record(record: dict[str, Any]) -> None:
    kept = {digest: value for digest, value in record.items() if blob_path(digest).exists()}
    with files.new_file(_record_path(), overwrite=True) as file:
        file.write(json.dumps(kept, indent=0).encode())


def _record_path() -> Path:
    return models_folder() / "verified.json"


def _record() -> dict[str, Any]:
    try:
        with _record_path().open("rb") as file:
            record = json.loads(file.read(_RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}  # everything is hashed again, which harms nobody
    return record if isinstance(record, dict) else {}


def _make_folder() -> None:
    folder = blobs_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.write_error(folder, error) from error
