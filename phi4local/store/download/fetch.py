"""A file at a server becomes a blob: one process at a time, resumed, proved, named last."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phi4local import files
from phi4local.errors import DamagedFileError
from phi4local.store import blobs
from phi4local.store.download.settings import DownloadSettings, Report
from phi4local.store.download.state import RECORD, State
from phi4local.store.download.transfer import Transfer
from phi4local.store.home import make_work_folder, unfinished_folder
from phi4local.store.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.store.remote import RemoteFile

_LOOK_SECONDS = 0.1
_EMPTY = hashlib.sha256().hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that is a blob now. `sha256` is of its bytes, 64 hex digits."""

    file: RemoteFile
    sha256: str


def fetch(
    file: RemoteFile,
    *,
    settings: DownloadSettings | None = None,
    progress: Callable[[Report], None] = lambda _report: None,
) -> Fetched:
    """Fetch a file into the blobs and return its digest; what an earlier try left is used.

    Another process that fetches the same file is waited for, its progress is told, and what it brought is
    taken. A connection that breaks, a server that is busy and a signature that expired are tried again. The
    file gets its name when its digest is the announced one; if it is not, everything is fetched once more, in
    one stream.

    Args:
        file: from a source's `resolve`.
        settings: how many streams, and how patient.
        progress: called ten times a second, and for each wait.

    Example: `fetch(resolve(reference).files[0]).sha256`.

    Raises:
        DownloadError: the server gave up, refuses, or sends something else than it announced.
        FileWriteError: the operating system refused; what came is kept.
    """
    settings = settings or DownloadSettings()
    seen_bytes = 0
    while True:
        with locked(work_name(file), wait=False) as mine:
            if mine:
                return _fetch_locked(file, settings, progress)
        seen_bytes = max(seen_bytes, recorded_bytes(file))
        note = "another process is downloading this; waiting for it"
        progress(
            Report(file=file, done_bytes=seen_bytes, reused_bytes=seen_bytes, bytes_per_second=0, note=note)
        )
        time.sleep(_LOOK_SECONDS)


def recorded_bytes(file: RemoteFile) -> int:
    """Return how much of a file an earlier process left, or the one that fetches it now has."""
    record = State(unfinished_folder() / work_name(file) / RECORD, file)
    return record.read(file.size_bytes).total


def work_name(file: RemoteFile) -> str:
    """Return the name of a file's lock and of the folder of what came of it.

    Example: `sha256-` and the digest; without one, `file-` and a digest of where it is.
    """
    if file.sha256:
        return f"sha256-{file.sha256}"
    return f"file-{hashlib.sha256(file.source.encode()).hexdigest()}"


def _fetch_locked(
    file: RemoteFile, settings: DownloadSettings, progress: Callable[[Report], None]
) -> Fetched:
    if file.sha256 and blobs.is_here(file.sha256, file.size_bytes):
        return Fetched(file=file, sha256=file.sha256)
    folder = make_work_folder(work_name(file))
    try:
        transfer = Transfer(file, folder, settings, progress)
        digest = transfer.run()
        if not _is_announced(file, digest, transfer.partial):
            # What an earlier try left, or answers of two servers, may be to blame.
            _forget(folder)
            transfer = Transfer(file, folder, replace(settings, connections=1), _still(progress, file))
            digest = transfer.run()
        if not _is_announced(file, digest, transfer.partial):
            _forget(folder)
            raise _damaged(file, digest)
    except OSError as error:
        raise files.write_error(folder / "file", error) from error
    blobs.take(transfer.partial, digest)
    shutil.rmtree(folder, ignore_errors=True)
    return Fetched(file=file, sha256=digest)


def _still(progress: Callable[[Report], None], file: RemoteFile) -> Callable[[Report], None]:
    """Return a teller for the second try: what was told before stays told."""

    def tell(report: Report) -> None:
        note = report.note or f"it arrived damaged; {report.done_bytes / max(1, file.size_bytes):.0%} again"
        progress(replace(report, done_bytes=file.size_bytes, note=note))

    return tell


def _forget(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _damaged(file: RemoteFile, digest: str) -> DamagedFileError:
    announced = f"SHA-256 {file.sha256}" if file.sha256 else f"git's digest {file.git_sha1}"
    what = "an empty body" if digest == _EMPTY else f"SHA-256 {digest}"
    return DamagedFileError(
        f"`{file.path}` arrived damaged twice: {what}, announced {announced}",
        hint="the server's file is wrong; try again later, or another source",
    )


def _is_announced(file: RemoteFile, digest: str, path: Path) -> bool:
    if file.sha256 or not file.git_sha1:
        return digest == (file.sha256 or digest)
    data = path.read_bytes()  # small: the sources give large files a SHA-256
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() == file.git_sha1
