"""Let the operating system fail on purpose: one chosen read, write, sync or rename in some folders.

The code under test is real and so are all its other calls; the chosen one raises what a broken disk raises,
or the process is killed just before it. `fault_runner.py` runs whole commands this way.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import io
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

SIGKILL = "SIGKILL"

_OF_A_PATH = {
    "open": ("open",),
    "list": ("listdir", "scandir"),
    "look": ("stat", "lstat", "statvfs"),
    "rename": ("rename", "replace", "link"),
    "remove": ("unlink", "remove"),
}
_OF_A_DESCRIPTOR = {
    "read": ("read", "pread", "preadv", "readv"),
    "write": ("write", "pwrite"),
    "sync": ("fsync", "fdatasync"),
    "cut": ("ftruncate", "truncate"),
}
CALLS = (*_OF_A_PATH, *_OF_A_DESCRIPTOR)
"""Kinds of calls that can be made to fail; calls of one kind are counted together, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong: call `number` of the kind `call`, with a name from `errno` or `SIGKILL`.

    With `room_bytes` the disk is full after so many bytes instead: the write that crosses the border is
    short, as the system makes it, and all later ones fail.
    """

    call: str
    number: int = 0
    failure: str = "EIO"
    room_bytes: int | None = None


@contextlib.contextmanager
def inject(folders: Iterable[Path], fault: Fault | None = None) -> Iterator[collections.Counter[str]]:
    """Count the calls that concern files below `folders`, and let one of them fail.

    Example: `with inject([tmp_path]) as calls: …` counts; with `Fault(call="sync", number=2)` the second
    fsync raises EIO.
    """
    watch = _Watch([str(folder) for folder in folders], fault)
    saved: list[tuple[Any, str, Any]] = []
    try:
        for owner, name, replacement in watch.replacements():
            saved.append((owner, name, getattr(owner, name)))
            setattr(owner, name, replacement)
        yield watch.calls
    finally:
        for owner, name, original in saved:
            setattr(owner, name, original)


class _Watch:
    def __init__(self, folders: list[str], fault: Fault | None) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self.descriptors: set[int] = set()
        self._folders = tuple(folders)
        self._fault = fault
        self._room_bytes = fault.room_bytes if fault else None
        self._open = io.open

    def replacements(self) -> Iterator[tuple[Any, str, Any]]:
        import builtins

        for call, names in (_OF_A_PATH | _OF_A_DESCRIPTOR).items():
            for name in names:
                if hasattr(os, name):
                    yield os, name, self._counted(call, getattr(os, name))
        yield os, "close", self._closing(os.close)
        yield io, "open", self._open_file
        yield builtins, "open", self._open_file

    def concerns(self, target: object) -> bool:
        if isinstance(target, int):
            return target in self.descriptors
        try:
            return os.fsdecode(os.fspath(target)).startswith(self._folders)  # type: ignore[call-overload]
        except TypeError:
            return False

    def meet(self, call: str) -> None:
        """Count a call, and fail if it is the chosen one."""
        self.calls[call] += 1
        fault = self._fault
        if fault is None or fault.room_bytes is not None:
            return
        if (call, self.calls[call]) != (fault.call, fault.number):
            return
        if fault.failure == SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)
        raise _system_error(fault.failure)

    def room(self, data: Any) -> Any:
        """Return as much of `data` as the disk still takes."""
        if self._room_bytes is None:
            return data
        size = memoryview(data).nbytes
        if self._room_bytes == 0 < size:
            raise _system_error("ENOSPC")
        taken = min(size, self._room_bytes)
        self._room_bytes -= taken
        return memoryview(data).cast("B")[:taken]

    def _counted(self, call: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(target: Any, *rest: Any, **named: Any) -> Any:
            if not self.concerns(target):
                return original(target, *rest, **named)
            self.meet(call)
            if call == "write":
                return original(target, self.room(rest[0]), *rest[1:], **named)
            result = original(target, *rest, **named)
            if call == "open":
                self.descriptors.add(result)
            return result

        return counted

    def _closing(self, original: Callable[[int], None]) -> Callable[[int], None]:
        def close(descriptor: int) -> None:
            self.descriptors.discard(descriptor)
            original(descriptor)

        return close

    def _open_file(
        self, file: Any, mode: str = "r", buffering: int = -1, *rest: Any, closefd: bool = True, **named: Any
    ) -> Any:
        if not self.concerns(file):
            return self._open(file, mode, buffering, *rest, closefd=closefd, **named)
        if not isinstance(file, int):
            self.meet("open")
        raw = _CountedFile(self, file, mode.replace("b", "").replace("t", ""), closefd)
        if buffering == 0:
            return raw
        kind = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
        buffered = kind(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **named)


class _CountedFile(io.FileIO):
    """An unbuffered file whose calls are counted; Python's own never passes through `os`."""

    def __init__(self, watch: _Watch, file: Any, mode: str, closefd: bool) -> None:
        super().__init__(file, mode, closefd)
        self._watch = watch
        watch.descriptors.add(self.fileno())

    def readinto(self, buffer: Any) -> int:
        self._watch.meet("read")
        return super().readinto(buffer)

    def readall(self) -> bytes:
        self._watch.meet("read")
        return super().readall()

    def read(self, size: int = -1) -> bytes:
        self._watch.meet("read")
        return super().read(size)

    def write(self, data: Any) -> int:
        self._watch.meet("write")
        return super().write(self._watch.room(data))

    def truncate(self, size: int | None = None) -> int:
        self._watch.meet("cut")
        return super().truncate(size)

    def close(self) -> None:
        if not self.closed:
            self._watch.descriptors.discard(self.fileno())
        super().close()


def _system_error(name: str) -> OSError:
    code = getattr(errno, name)
    return OSError(code, os.strerror(code))
