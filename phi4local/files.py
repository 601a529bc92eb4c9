"""Publish a file: complete under its final name, or not there at all.

Temporary name in the same folder → write → flush → fsync → rename → fsync of the folder. Everything that
phi4local keeps is written through this module.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import sys
from typing import IO, TYPE_CHECKING

from phi4local.errors import FileWriteError, NotEnoughDiskError, OutputExistsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEMPORARY_SUFFIX = ".partial"


@contextlib.contextmanager
def new_file(path: Path, *, overwrite: bool = False, size_bytes: int = 0) -> Iterator[IO[bytes]]:
    """Yield a file to write; it gets the name `path` when the block ends without an error.

    On an error, and on Ctrl-C, the temporary file is removed and `path` is as it was. With
    `overwrite=False` the final step cannot replace a file that appeared meanwhile.

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
    refuse_existing(path, overwrite=overwrite)
    temporary = path.with_name(f".phi4local-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    try:
        _require_free(path, size_bytes)
        # O_EXCL: nobody can have put a link under this name.
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o644), "w+b")
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _rename(temporary, path, overwrite=overwrite)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


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
    """Raise `OutputExistsError` unless `path` is free, or a regular file that may be replaced."""
    if not os.path.lexists(path):
        return
    if path.is_symlink() or not path.is_file():
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


def _require_free(path: Path, size_bytes: int) -> None:
    if not size_bytes or not hasattr(os, "statvfs"):
        return
    state = os.statvfs(path.parent)
    free_bytes = state.f_bavail * state.f_frsize
    if free_bytes < size_bytes:
        raise NotEnoughDiskError(path, needed_bytes=size_bytes, free_bytes=free_bytes)


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
    else:
        temporary.unlink()
