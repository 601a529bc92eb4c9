"""A conversation that is written down as it happens: a crash takes at most the turn in progress."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

from phi4local.assistant.sessions import folder, record
from phi4local.assistant.sessions.session_file import SessionFile
from phi4local.assistant.sessions.transcript import FORMAT, now

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from phi4local.assistant.sessions.transcript import Transcript
    from phi4local.messages import Message


class Session:
    """A kept conversation, open for going on; until it is closed no other process can write to it.

    Every method that writes raises `FileWriteError` when the operating system refuses, and
    `TextTooLongError` for a text of over 16 MiB; the conversation is then as it was.

    Args:
        path: its file.
        new: it was begun just now: if nothing is said in it, nothing of it stays.

    Attributes:
        transcript: what was said, and by whom.
        skipped: what could not be read of the file, in words.
        unanswered: the question that was asked last and whose answer was lost, or `None`; it is not among
            the messages.

    Example::

        with SessionLibrary().create("trip", model="phi-4:Q4_K_M") as session:
            session.add_user("Where is it warm in May?")
            session.add_answer("In Sicily.", reason="stop", tokens=5)

    Raises:
        SessionBusyError: another process has it open.
        SessionError: it cannot be read, or a newer phi4local wrote it.
        FileWriteError: the operating system allows no writing to it.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self._file = SessionFile(path)
        self._new = new
        self.transcript: Transcript = self._file.transcript
        self.skipped = tuple(self.transcript.skipped)
        said = self.transcript.said
        lost = bool(said) and said[-1].message.role == "user"
        self.unanswered = said.pop().message.content if lost else None
        self._takes_back = lost
        if not self.transcript.id:  # the first line is damaged, or the file is empty
            self._write("session", format=FORMAT, id=folder.new_id())

    def __enter__(self) -> Self:
        """Return the session."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def path(self) -> Path:
        """Its file."""
        return self._file.path

    @property
    def name(self) -> str:
        """What the person calls it."""
        return self.path.stem

    @property
    def messages(self) -> list[Message]:
        """The system message and what was said."""
        return self.transcript.messages

    @property
    def snapshot_path(self) -> Path:
        """Where `Model.save` may put the model's memory of it, so that going on evaluates nothing again."""
        return folder.snapshot(self.path)

    def add_user(self, text: str) -> None:
        """Write down what the person said."""
        self._write("user", text=record.as_text(text))

    def add_answer(self, text: str, *, reason: str, tokens: int, thought: str | None = None) -> None:
        """Write down the answer, and return when it is on the disk.

        Args:
            text: as far as it came.
            reason: why it ended.
            tokens: how many it has.
            thought: what a reasoning model thought before.
        """
        facts: dict[str, Any] = {"reason": reason, "tokens": tokens}
        if thought is not None:
            facts["thought"] = record.as_text(thought)
        self._write("assistant", text=record.as_text(text), sync=True, **facts)

    def undo(self) -> None:
        """Write down that the last question and its answer are taken back."""
        self._write("undo")

    def clear(self) -> None:
        """Write down that everything but the system message is forgotten."""
        self._write("clear")

    def set_system(self, text: str | None) -> None:
        """Write down another system message; `None` for none."""
        self._write("system", text=None if text is None else record.as_text(text))

    def set_model(self, name: str, digest: str | None = None) -> None:
        """Write down that another model answers from now on."""
        self._write("model", name=record.as_text(name), digest=digest)

    def note(self, kind: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Write down something that is no message. Example: `note("settings", temperature=0.2)`."""
        self._write("note", kind=kind, facts=facts)

    def rename(self, name: str) -> None:
        """Give it another name.

        Raises:
            InvalidSettingError: no name, or another session has it.
        """
        self._file.rename(name)
        self.transcript.name = self.name

    def fork(self, name: str | None = None) -> Session:
        """Return a copy that goes its own way; this one stays as it is, and open.

        Raises:
            InvalidSettingError: no name, or another session has it.
        """
        return Session(copy_of(self.transcript, self.path.parent, name))

    def close(self) -> None:
        """Let others go on with it. A new session in which nothing was said leaves no file."""
        self._file.close()
        if self._new and not self.transcript.first_words:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _write(self, event: str, *, sync: bool = False, **facts: Any) -> None:  # noqa: ANN401 - JSON
        if self._takes_back:  # the question that was left out when this was opened
            self._file.append({"event": "undo", "at": now()})
            self._takes_back = False
        happened = {"event": event, **facts, "at": now()}
        self._file.append(happened, sync=sync)
        self.transcript.apply(happened)


def copy_of(transcript: Transcript, where: Path, name: str | None) -> Path:
    """Write a session that begins as `transcript` is now; return its file.

    Args:
        transcript: of any session, open or not.
        where: the folder of the sessions.
        name: what the copy will be called; `None` for its id.

    Raises:
        InvalidSettingError: no name, or another session has it.
        FileWriteError: the operating system refused.
    """
    first = {
        "model": transcript.model,
        "digest": transcript.digest,
        "system": transcript.system,
        "forked_from": {"id": transcript.id, "turns": transcript.turns},
    }
    return folder.publish(where, name, first, transcript.events())
