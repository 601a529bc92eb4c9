"""All kept conversations: begin one, go on with one, look through them."""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.assistant.sessions import folder
from phi4local.assistant.sessions.record import as_text
from phi4local.assistant.sessions.session import Session, copy_of
from phi4local.assistant.sessions.session_file import lock
from phi4local.errors import SessionError
from phi4local.files import write_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phi4local.assistant.sessions.transcript import Transcript

EXCERPT_CHARACTERS = 40
"""On each side of what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """One line of a list of sessions.

    Attributes:
        id: unique; stays when the name changes.
        name: what the person calls it.
        model: who answered last.
        created: when it began, `2026-01-31T12:00:00Z`.
        changed: when it was written to last.
        turns: how many questions it has.
        first_words: of its first question; empty if nothing was said.
    """

    id: str
    name: str
    model: str | None
    created: str | None
    changed: str
    turns: int
    first_words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Where something was found: the session's name, the number of the turn from 1, the words around it.

    Turn 0 is the system message.
    """

    session: str
    turn: int
    excerpt: str


def _nothing(_line: str) -> None:
    """Say nothing."""


class SessionLibrary:
    """The sessions of one folder.

    Args:
        path: the folder; made when the first session is. Default: `PHI4LOCAL_HOME/sessions`.
        report: told in a line what could not be read, while sessions are listed or searched.

    Example: `SessionLibrary().open("trip").messages`.
    """

    def __init__(self, path: Path | None = None, *, report: Callable[[str], None] = _nothing) -> None:
        self.folder = path or folder.sessions_folder()
        self._report = report

    def create(
        self,
        name: str | None = None,
        *,
        model: str | None = None,
        digest: str | None = None,
        system: str | None = None,
    ) -> Session:
        """Begin a session.

        Args:
            name: what it will be called; `None` for its id.
            model: who answers.
            digest: a name for the content of the model's file, as `store.results.model_digest` gives.
            system: the instruction before everything.

        Raises:
            InvalidSettingError: the name is none, or another session has it.
            FileWriteError: the operating system refused.
        """
        first = {"model": model, "digest": digest, "system": system}
        return Session(folder.publish(self.folder, name, first, ()), new=True)

    def open(self, name: str) -> Session:
        """Go on with a session, by its name or its id.

        Raises:
            UnknownSessionError: there is none; the hint has near names.
            SessionBusyError: another process has it open.
            SessionError: it cannot be read, or a newer phi4local wrote it.
            FileWriteError: the operating system allows no writing to it.
        """
        return Session(folder.find(self.folder, name))

    def read(self, name: str) -> Transcript:
        """Return what a session says, also while another process writes to it.

        Raises:
            UnknownSessionError: there is none.
            SessionError: it cannot be read.
        """
        return folder.read_file(folder.find(self.folder, name))

    def fork(self, source: str, name: str | None = None) -> Session:
        """Begin a session as a copy of another one, also of one that another process writes to.

        Raises:
            UnknownSessionError, SessionError: as `read`.
            InvalidSettingError: the name is none, or another session has it.
        """
        return Session(copy_of(self.read(source), self.folder, name))

    def list(self) -> tuple[SessionSummary, ...]:
        """Return all sessions, the one that was written to last first."""
        return tuple(_summary(path, transcript) for path, transcript in self._read_all())

    def latest(self) -> SessionSummary | None:
        """Return the session that was written to last and in which something was said."""
        summaries = (_summary(path, transcript) for path, transcript in self._read_all())
        return next((summary for summary in summaries if summary.first_words), None)

    def search(self, text: str) -> tuple[Hit, ...]:
        """Return the messages that hold every word of `text`; upper and lower case are the same.

        Example: `search("warm may")` finds "Where is it warm in May?".
        """
        words = [re.compile(re.escape(word), re.IGNORECASE) for word in as_text(text).split()]
        if not words:
            return ()
        return tuple(hit for _, transcript in self._read_all() for hit in _hits(transcript, words))

    def remove(self, name: str) -> str:
        """Delete a session and its snapshot; return what it was called.

        Raises:
            UnknownSessionError: there is none.
            SessionBusyError: a process has it open.
            SessionError: it is a folder.
            FileWriteError: the operating system refused.
        """
        path = folder.find(self.folder, name)
        descriptor = lock(path)
        if sys.platform == "win32":  # which deletes no open file
            os.close(descriptor)
        try:
            path.unlink()
            folder.snapshot(path).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(path, error) from error
        finally:
            if sys.platform != "win32":
                os.close(descriptor)
        return path.stem

    def _read_all(self) -> Iterator[tuple[Path, Transcript]]:
        """Yield what can be read, the file that was changed last first."""
        for path in sorted(folder.paths(self.folder), key=_changed, reverse=True):
            try:
                yield path, folder.read_file(path)
            except SessionError as error:
                self._report(str(error))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed a moment ago, or a link to nothing
        return 0.0


def _summary(path: Path, transcript: Transcript) -> SessionSummary:
    return SessionSummary(
        id=transcript.id,
        name=transcript.name,
        model=transcript.model,
        created=transcript.created,
        changed=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_changed(path))),
        turns=transcript.turns,
        first_words=transcript.first_words,
    )


def _hits(transcript: Transcript, words: list[re.Pattern[str]]) -> Iterator[Hit]:
    turn = 0
    for message in transcript.messages:
        turn += message.role == "user"
        found = [word.search(message.content) for word in words]
        if all(found) and found[0]:
            yield Hit(session=transcript.name, turn=turn, excerpt=_excerpt(message.content, found[0].span()))


def _excerpt(text: str, place: tuple[int, int]) -> str:
    """Return a found place with the words around it, on one line."""
    begin, end = max(0, place[0] - EXCERPT_CHARACTERS), place[1] + EXCERPT_CHARACTERS
    words = " ".join(text[begin:end].split())
    return f"{'…' if begin else ''}{words}{'…' if end < len(text) else ''}"
