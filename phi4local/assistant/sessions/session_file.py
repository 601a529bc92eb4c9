"""A session's file, open for writing: locked, appended to line by line."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from phi4local.assistant.sessions import folder, record
from phi4local.assistant.sessions.transcript import FORMAT
from phi4local.errors import SessionBusyError, SessionError
from phi4local.files import write_error
from phi4local.store.locks import locked, take

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.assistant.sessions.transcript import Transcript

_LOCKED_PLACE = 2**31 - 1
"""Of the byte that Windows locks: behind every session's end, because nobody else could read it."""


class SessionFile:
    """The file of one session. Until it is closed, or its process ends, no other process can write to it.

    Attributes:
        path: where it is.
        transcript: what it says.

    Example: `SessionFile(path).append({"event": "undo", "at": now()})`.

    Raises:
        SessionBusyError: another process has it open.
        SessionError: it cannot be read, is no session, or a newer phi4local wrote it.
        FileWriteError: the operating system allows no writing to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = lock(self.path)
        try:
            self.transcript, self._torn = self._read()
        except BaseException:
            self.close()
            raise

    def append(self, event: dict[str, Any], *, sync: bool = False) -> None:
        """Write a line in one go; one that was left without its end becomes a line of its own.

        Args:
            event: what happened; see `record`.
            sync: return when it is on the disk.

        Raises:
            TextTooLongError, InvalidSettingError: see `record.encode`.
            FileWriteError: the operating system refused.
        """
        if self._descriptor < 0:
            raise SessionError(self.path, "is closed")
        line = record.encode(event, str(event["event"]))
        data = memoryview(b"\n" + line if self._torn else line)
        self._torn = True
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            self._torn = False
            if sync:
                os.fsync(self._descriptor)
        except OSError as error:
            raise write_error(self.path, error) from error

    def rename(self, name: str) -> None:
        """Give it, and the snapshot beside it, another name.

        Raises:
            InvalidSettingError: no name, or another session has it.
            FileWriteError: the operating system refused.
        """
        path = self.path.with_name(folder.safe_name(name) + folder.SUFFIX)
        with locked(folder.NAMES_LOCK):
            folder.refuse_taken(path.parent, path.stem, but=self.path.stem)
            try:
                if sys.platform == "win32":  # which renames no open file
                    self.close()
                self.path.replace(path)
                with contextlib.suppress(FileNotFoundError):
                    folder.snapshot(self.path).replace(folder.snapshot(path))
            except OSError as error:
                raise write_error(path, error) from error
            self.path = path
            if sys.platform == "win32":
                self._descriptor = lock(self.path)

    def close(self) -> None:
        """Let others write to it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> tuple[Transcript, bool]:
        """Return what it says, and whether its last line lacks its end."""
        try:
            with folder.opened(self.path) as file:
                transcript = record.read(file, record.as_text(self.path.stem))
                size_bytes = file.seek(0, os.SEEK_END)
                file.seek(max(0, size_bytes - 1))
                torn = file.read() not in (b"", b"\n")
        except OSError as error:
            raise folder.unreadable(self.path, error) from error
        if (transcript.format or 0) > FORMAT:
            problem = f"a newer phi4local wrote it (format {transcript.format})"
            raise SessionError(self.path, problem, hint="update phi4local; `sessions show` reads it")
        if size_bytes and not transcript.id and not transcript.said:
            raise SessionError(self.path, "is no session, or nothing of it is left")
        return transcript, torn


def lock(path: Path) -> int:
    """Return a descriptor for appending to a session's file; while it is open, the session is ours.

    Raises:
        SessionBusyError: another process has it open.
        SessionError: it is not there, or a folder.
        FileWriteError: the operating system allows no writing to it.
    """
    flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise folder.unreadable(path, error) from error
    except OSError as error:
        raise write_error(path, error) from error
    if sys.platform == "win32":
        os.lseek(descriptor, _LOCKED_PLACE, os.SEEK_SET)
    if not take(descriptor, wait=False):
        os.close(descriptor)
        raise SessionBusyError(path.stem)
    return descriptor
