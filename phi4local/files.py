"""Publish a file: complete under its final name, or not there at all.

Temporary name in the same folder → write → flush → fsync → rename → fsync of the folder. Everything that
phi4local keeps is written through this module. A process that is killed leaves its temporary file,
`.phi4local-*.partial`; it held a lock on it, so the next one that writes there sees that its owner is gone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
from typing import IO, TYPE_CHECKING

from phi4local.errors import FileWriteError, NotEnoughDiskError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TEMPORARY_SUFFIX = ".partial"


@contextlib.contextmanager
def new_file(path: Path, *, overwrite: bool = False, size_bytes: int = 0) -> Iterator[IO[bytes]]:
    """Yield a file to write; it gets the name `path` when the block ends without an error.

    On an error, and on Ctrl-C, the temporary file is removed and `path` is as it was; only when the folder
    cannot be synced after an existing file was replaced, the complete new one stays. With
    `overwrite=False` the final step cannot replace a file that appeared meanwhile.

    Temporary files of killed processes in the same folder are removed first (not on Windows).

    Args:
        path: the final name.
        overwrite: replace an existing regular file.
        size_bytes: how much will be written; refused before the first byte when the disk has less.

    Example::

        with new_file(Path("answer.txt")) as file:
            file.write(b"42")

    Raises:
        OutputExistsError: `path` exists and `overwrite` is off, or it is no regular file.
        NotEnoughDiskError: less than `size_bytes` are free.
        FileWriteError: the operating system refused.
    """
    with new_files({path: size_bytes}, overwrite=overwrite) as opened:
        yield opened[0]


@contextlib.contextmanager
def new_files(sizes: Mapping[Path, int], *, overwrite: bool = False) -> Iterator[tuple[IO[bytes], ...]]:
    """Yield files to write; they get their names, the last one first, when the block ends without an error.

    All of them are on the disk before one gets its name. If a name cannot be given, those that have theirs
    lose them again; with `overwrite` they stay, complete.

    Args:
        sizes: the final names, and how much will be written to each, 0 if unknown.
        overwrite: replace existing regular files.

    Example: with the parts of a model in order, the first part, which a person opens, comes last.

    Raises:
        As `new_file`.
    """
    for path in sizes:
        refuse_existing(path, overwrite=overwrite)
    with contextlib.ExitStack() as unfinished:
        _require_free(sizes)
        pending = {path: unfinished.enter_context(_temporary(path)) for path in sizes}
        yield tuple(file for file, _ in pending.values())
        for path, (file, _) in pending.items():
            with _errors_about(path):
                file.flush()
                os.fsync(file.fileno())
                if _CLOSE_BEFORE_RENAMING:
                    file.close()
        _publish({path: temporary for path, (_, temporary) in pending.items()}, overwrite=overwrite)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Yield an open file beside `path` and its name; the name is removed on an error."""
    with _errors_about(path):
        temporary, file = _create_temporary(path.parent)
        try:
            with file:
                yield file, temporary
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _errors_about(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def _publish(temporaries: Mapping[Path, Path], *, overwrite: bool) -> None:
    """Give the temporary files their names, last first; an error leaves no new name that may be lost."""
    named: list[Path] = []
    try:
        for path, temporary in reversed(list(temporaries.items())):
            with _errors_about(path):
                _rename(temporary, path, overwrite=overwrite)
            named.append(path)
        for folder, path in {path.parent: path for path in named}.items():
            with _errors_about(path):
                sync_folder(folder)
    except BaseException:
        for path in () if overwrite else named:
            path.unlink(missing_ok=True)
        raise


def adopt(temporary: Path, path: Path) -> None:
    """Publish a finished file that another program wrote in the same folder, replacing what is there.

    Raises:
        FileWriteError: the operating system refused.
    """
    try:
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise `FileWriteError` unless `path` is free, or a regular file that may be replaced."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise write_error(path, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise FileWriteError(
            path, "it exists and is not a regular file", hint="choose another name with `-o`"
        )
    if not overwrite:
        raise OutputExistsError(path)


def write_error(path: Path, error: OSError) -> FileWriteError:
    """Translate what the operating system said into one line about `path`.

    Example: `ENOSPC` → "cannot write `model.gguf`: no space left on device".
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileWriteError(path, "no space left on device", hint="free some disk space and try again")
    if isinstance(error, FileExistsError):
        return OutputExistsError(path)
    return FileWriteError(path, (error.strerror or str(error)).lower())


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut. Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_O_BINARY = getattr(os, "O_BINARY", 0)
_CLOSE_BEFORE_RENAMING = sys.platform == "win32"  # elsewhere the lock is held until the name is there


def _create_temporary(folder: Path) -> tuple[Path, IO[bytes]]:
    """Remove what killed processes left in `folder`, then create a locked file of a new name."""
    for left in folder.glob(f".phi4local-*{TEMPORARY_SUFFIX}"):
        _remove_if_left(left)
    while True:
        temporary = folder / f".phi4local-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        # O_EXCL: nobody can have put a link under this name.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o644)
        file = os.fdopen(descriptor, "w+b")
        _lock(descriptor, wait=True)
        if os.fstat(descriptor).st_nlink:
            return temporary, file
        file.close()  # another process took it for a leftover before the lock was there


def _remove_if_left(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(temporary, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            if _lock(descriptor, wait=False):
                temporary.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Return whether the file is ours now; it is until it is closed, or the process ends in any way."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # somebody else's, or a file system without locks
        return False
    return True


def _require_free(sizes: Mapping[Path, int]) -> None:
    """Refuse what the disks have no room for; files on one disk count together."""
    if not hasattr(os, "statvfs"):
        return
    needed: dict[int, int] = {}
    for path, size_bytes in sizes.items():
        if not size_bytes:
            continue
        with _errors_about(path):
            disk, state = path.parent.stat().st_dev, os.statvfs(path.parent)
        needed[disk] = needed.get(disk, 0) + size_bytes
        free_bytes = state.f_bavail * state.f_frsize
        if free_bytes < needed[disk]:
            raise NotEnoughDiskError(path, needed_bytes=needed[disk], free_bytes=free_bytes)


def _rename(temporary: Path, path: Path, *, overwrite: bool) -> None:
    if overwrite:
        temporary.replace(path)
        return
    if sys.platform == "win32":
        temporary.rename(path)  # refuses an existing name there
        return
    try:
        os.link(temporary, path)  # refuses an existing name, unlike rename
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise
        refuse_existing(path, overwrite=False)  # a file system without hard links
        temporary.replace(path)
        return
    with contextlib.suppress(OSError):  # the file is published; a second name for it harms nobody
        temporary.unlink()
