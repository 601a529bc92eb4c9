"""A conversation goes on when the disk is full: it is not kept any more, and that is said once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.errors import FileWriteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.assistant.sessions.session import Session


class WhilePossible:
    """Writes a conversation into a session until the operating system refuses to.

    After that nothing is written any more, also when there is room again: an answer would stand in the file
    without its question, and `undo` would take back another turn. The file keeps the turns until then.

    Args:
        session: where it is written down.
        ended: told why, once.

    Example: `Conversation(model, record=WhilePossible(session, lambda error: print(error)))`.
    """

    def __init__(self, session: Session, ended: Callable[[FileWriteError], None]) -> None:
        self._session: Session | None = session
        self._ended = ended

    def add_user(self, text: str) -> None:
        """Write down what the person said."""
        self._write(lambda session: session.add_user(text))

    def add_answer(self, text: str, *, reason: str, tokens: int, thought: str | None = None) -> None:
        """Write down the answer, as far as it came."""
        self._write(lambda session: session.add_answer(text, reason=reason, tokens=tokens, thought=thought))

    def undo(self) -> None:
        """Write down that the last question and its answer are taken back."""
        self._write(lambda session: session.undo())

    def clear(self) -> None:
        """Write down that all turns are forgotten."""
        self._write(lambda session: session.clear())

    def set_system(self, text: str | None) -> None:
        """Write down another instruction."""
        self._write(lambda session: session.set_system(text))

    def set_model(self, name: str, digest: str | None = None) -> None:
        """Write down that another model goes on."""
        self._write(lambda session: session.set_model(name, digest))

    def note(self, kind: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Write down something that is no message."""
        self._write(lambda session: session.note(kind, **facts))

    def _write(self, write: Callable[[Session], None]) -> None:
        if self._session is None:
            return
        try:
            write(self._session)
        except FileWriteError as error:
            self._session = None
            self._ended(error)
