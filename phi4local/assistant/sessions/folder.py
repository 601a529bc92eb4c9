"""The files of the sessions: their names, how one appears, how one is read."""

from __future__ import annotations

import contextlib
import difflib
import os
import secrets
import stat
import sys
import time
import unicodedata
from typing import IO, TYPE_CHECKING, Any

from phi4local.assistant.sessions import record
from phi4local.assistant.sessions.transcript import FORMAT, Transcript, now
from phi4local.errors import InvalidSettingError, SessionError, UnknownSessionError, UnsafeNameError
from phi4local.files import new_file, write_error
from phi4local.store.home import home, make_models_folder
from phi4local.store.locks import locked
from phi4local.store.paths import safe_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUFFIX, SNAPSHOT_SUFFIX = ".jsonl", ".kv"
MOST_FILE_BYTES = 256 * 2**20
"""A larger file is no conversation: it would be 60 million tokens."""
MOST_NAME_CHARACTERS = 80
NAMES_LOCK = "sessions"
"""Held while a session gets its name, so that no two get the same."""
_NAME_HINT = f"a session's name has up to {MOST_NAME_CHARACTERS} letters, digits, spaces and -_."


def sessions_folder() -> Path:
    """Return the folder of the sessions."""
    return home() / "sessions"


def snapshot(path: Path) -> Path:
    """Return where the model's memory of a session is kept, beside its file."""
    return path.with_name(path.name.removesuffix(SUFFIX) + SNAPSHOT_SUFFIX)


def new_id() -> str:
    """Return an id that sorts by time and that nothing else has. Example: `20260131T120000-1f2e`."""
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def safe_name(name: str) -> str:
    """Return a session's name as it is written, if it is a file name on every system.

    Example: `" my trip "` → `"my trip"`; `"../x"`, `"a/b"`, `".hidden"` and `"nul"` are refused.

    Raises:
        InvalidSettingError: it is not.
    """
    text = unicodedata.normalize("NFC", record.as_text(name)).strip()
    shown = repr(text[: MOST_NAME_CHARACTERS + 1])
    if not text or len(text) > MOST_NAME_CHARACTERS or text[0] in ".-" or "/" in text:
        raise InvalidSettingError("session", f"is {shown}, no name", hint=_NAME_HINT)
    try:
        return safe_path(text + SUFFIX).removesuffix(SUFFIX)
    except UnsafeNameError as error:
        raise InvalidSettingError("session", f"is {shown}: it {error.problem}", hint=_NAME_HINT) from error


def same_name(one: str, other: str) -> bool:
    """Return whether two names would be one file on some system: upper and lower case are the same."""
    return unicodedata.normalize("NFC", one).casefold() == unicodedata.normalize("NFC", other).casefold()


def paths(folder: Path) -> list[Path]:
    """Return the files of all sessions, by name; a folder that is not there has none.

    Raises:
        SessionError: the folder cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and path.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error


def find(folder: Path, name: str) -> Path:
    """Return the file of the session that has this name, or else this id.

    Raises:
        UnknownSessionError: there is none, or there are several; names near to it are in the hint.
    """
    there = paths(folder)
    fitting = [path for path in there if same_name(path.stem, name)]
    fitting = [path for path in fitting if path.stem == name] or fitting or list(_with_id(there, name))
    if not fitting:
        near = difflib.get_close_matches(name, [path.stem for path in there], n=3, cutoff=0.5)
        raise UnknownSessionError(name, "nothing is called so", near)
    if len(fitting) > 1:
        raise UnknownSessionError(name, "several have this id", [path.stem for path in fitting])
    return fitting[0]


def _with_id(there: Iterable[Path], wanted: str) -> Iterator[Path]:
    for path in there:
        with contextlib.suppress(OSError, SessionError), opened(path) as file:
            if first_line_id(file) == wanted:
                yield path


def first_line_id(file: IO[bytes]) -> str:
    """Return the id that a session's first line tells, or nothing."""
    begin = Transcript()
    record.take_line(begin, next(record.lines(file), None))
    return begin.id


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield a session's file, open for reading.

    Raises:
        SessionError: it is no regular file, or too large.
        OSError: the operating system refused.
    """
    # A pipe under this name would otherwise wait for somebody to write into it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(descriptor, "rb") as file:
        require_session(path, descriptor)
        yield file


def require_session(path: Path, descriptor: int) -> None:
    """Refuse what is no regular file, and what is too large to be a conversation.

    Raises:
        SessionError: it is such a thing.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise SessionError(path, "is no regular file")
    if found.st_size > MOST_FILE_BYTES:
        raise SessionError(path, f"has {found.st_size:,} bytes; a session has up to {MOST_FILE_BYTES:,}")


def read_file(path: Path) -> Transcript:
    """Read a session without keeping others from writing to it.

    Raises:
        SessionError: it cannot be read at all. What is damaged in it is in `skipped`, and is no error.
    """
    try:
        with opened(path) as file:
            return record.read(file, record.as_text(path.stem))
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> SessionError:
    """Translate what the operating system said when it was asked to read."""
    return SessionError(path, f"cannot be read: {(error.strerror or str(error)).lower()}")


def publish(folder: Path, name: str | None, first: dict[str, Any], events: Iterable[dict[str, Any]]) -> Path:
    """Write a new session's file: complete under its name, or not there at all; for its owner only.

    Args:
        folder: made if it is not there.
        name: what it will be called; `None` for its id.
        first: what the first line says beside the format, the id and the time.
        events: what follows it.

    Raises:
        InvalidSettingError: the name is none, or another session has it.
        FileWriteError: the operating system refused.
    """
    number = new_id()
    path = folder / f"{safe_name(number if name is None else name)}{SUFFIX}"
    begin = {"event": "session", "format": FORMAT, "id": number, "at": now()}
    known = {key: value for key, value in first.items() if value is not None}
    lines = [record.encode(event, str(event["event"])) for event in ({**begin, **known}, *events)]
    make_models_folder()  # makes the home too, for its owner alone
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    with locked(NAMES_LOCK):
        refuse_taken(folder, path.stem)
        with new_file(path) as file:
            if sys.platform != "win32":
                os.fchmod(file.fileno(), 0o600)
            file.writelines(lines)
    return path


def refuse_taken(folder: Path, name: str, *, but: str | None = None) -> None:
    """Refuse a name that another session has; `NAMES_LOCK` is held.

    Args:
        folder: of the sessions.
        name: what a session is to be called.
        but: what that session is called now, if it has a name already.

    Raises:
        InvalidSettingError: another session is called so.
    """
    for path in paths(folder):
        if same_name(path.stem, name) and path.stem != but:
            hint = "go on with it with `--session`, or choose another name"
            raise InvalidSettingError("session", f"is `{path.stem}`, which exists", hint=hint)
