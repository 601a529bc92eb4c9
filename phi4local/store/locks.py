"""Locks between processes: on files in the folder `locks`, held until they are let go or the process ends.

The files are never removed: another process may be waiting on one.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from phi4local.files import write_error
from phi4local.store.home import locks_folder, make_models_folder
from phi4local.store.paths import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator

STORE = "store"
"""Held while manifests are written or removed, and while blobs are deleted."""
_WINDOWS_POLL_SECONDS = 0.05


@contextlib.contextmanager
def locked(name: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock called `name` during the block; yield whether it is held.

    Threads of one process exclude each other too, and a thread that has it must not take it again. On a file
    system without locks everybody gets it.

    Args:
        name: `STORE`, or `sha256-` and 64 hex digits for the download or removal of one blob.
        wait: until it is free; otherwise yield `False` at once when somebody has it.

    Example::

        with locked("sha256-" + digest, wait=False) as mine:
            if mine:
                blob.unlink()

    Raises:
        FileWriteError: the folder cannot be written.
    """
    make_models_folder()
    path = locks_folder() / f"{safe_path(name)}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as error:
        raise write_error(path, error) from error
    try:
        yield take(descriptor, wait=wait)
    finally:
        os.close(descriptor)


def take(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed or the process ends; return whether it is ours.

    On Windows it is the byte at the descriptor's place that is locked, for reading too.

    Args:
        descriptor: of a file that was opened for writing.
        wait: until it is free.
    """
    if sys.platform == "win32":
        return _take_on_windows(descriptor, wait=wait)
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks here, as on some network disks
    return True


def _take_on_windows(descriptor: int, *, wait: bool) -> bool:
    import msvcrt

    while True:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except OSError:
            if not wait:
                return False
            time.sleep(_WINDOWS_POLL_SECONDS)  # the call that waits gives up after ten tries
        else:
            return True
