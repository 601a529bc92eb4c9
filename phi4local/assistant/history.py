"""The turns of a conversation: taken back, remembered, cleared, and written down as they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from phi4local.errors import NoTurnError
from phi4local.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterable


class Record(Protocol):
    """Who writes a conversation down as it happens; `assistant.sessions` has one for files."""

    def add_user(self, text: str) -> None:
        """Take what the person said."""

    def add_answer(self, text: str, *, reason: str, tokens: int, thought: str | None = None) -> None:
        """Take the answer to it, as far as it came."""

    def undo(self) -> None:
        """Forget the last question and its answer."""

    def clear(self) -> None:
        """Forget all turns."""

    def set_system(self, text: str | None) -> None:
        """Take another instruction."""


class History:
    """Messages, the system message first, and the token ids of answers as they were generated.

    Attributes:
        messages: the turns so far.
        record: who writes them down, or `None`.

    Example: `History("You are kind.").system` is "You are kind.".
    """

    def __init__(self, system: str | None = None, record: Record | None = None) -> None:
        self.record = record
        self.messages: list[Message] = [Message("system", system)] if system else []
        self._kept_ids: dict[int, tuple[int, ...]] = {}
        self._pushed: list[int] = []

    @property
    def system(self) -> str | None:
        """The instruction that stands before everything; setting it keeps the turns."""
        return self.messages[0].content if self._first_turn else None

    @system.setter
    def system(self, text: str | None) -> None:
        shift = bool(text) - self._first_turn
        self.messages = [*([Message("system", text)] if text else []), *self.messages[self._first_turn :]]
        self._kept_ids = {place + shift: ids for place, ids in self._kept_ids.items()}
        if self.record:
            self.record.set_system(text)

    @property
    def _first_turn(self) -> int:
        return int(bool(self.messages) and self.messages[0].role == "system")

    @property
    def kept_ids(self) -> dict[int, tuple[int, ...]]:
        """The token ids of answers as they were generated, by the index of their message."""
        return dict(self._kept_ids)

    @property
    def turns(self) -> int:
        """How many questions there are."""
        return sum(message.role == "user" for message in self.messages)

    @property
    def last_question(self) -> str | None:
        """What the person said last."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), None)

    @property
    def last_answer(self) -> str | None:
        """What the model said last."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), None)

    def clear(self) -> None:
        """Forget everything but the system message."""
        del self.messages[self._first_turn :]
        self._kept_ids, self._pushed = {}, []
        if self.record:
            self.record.clear()

    def load(self, messages: Iterable[Message], record: Record | None) -> None:
        """Go on with the turns of another conversation; a question without an answer is left out."""
        self.messages, self.record = list(messages), record
        self._kept_ids, self._pushed = {}, []
        if self.messages and self.messages[-1].role == "user":
            del self.messages[-1]

    def undo(self) -> str:
        """Forget the last question and its answer, and return the question.

        Raises:
            NoTurnError: nothing was asked.
        """
        place = self._last_turn()
        question = self.messages[place].content
        del self.messages[place:]
        self._kept_ids = self._ids_before(place)
        if self.record:
            self.record.undo()
        return question

    def _last_turn(self) -> int:
        places = [place for place, message in enumerate(self.messages) if message.role == "user"]
        if not places:
            raise NoTurnError("nothing was asked yet", hint="ask something first")
        return places[-1]

    def _ids_before(self, place: int) -> dict[int, tuple[int, ...]]:
        return {kept: ids for kept, ids in self._kept_ids.items() if kept < place}

    def _note_question(self, text: str, *, replacing: bool) -> None:
        if self.record:
            if replacing:
                self.record.undo()
            self.record.add_user(text)

    def _note_no_answer(self, *, replacing: bool) -> None:
        """Take a question back that got no answer; the turn that it should have replaced counts again."""
        if self.record:
            self.record.undo()
            if replacing:
                self.record.add_user(self.last_question or "")
                self.record.add_answer(self.last_answer or "", reason="stop", tokens=0)

    def push(self) -> int:
        """Remember how far the conversation is, and return how many such places there are."""
        self._pushed.append(self.turns)
        return len(self._pushed)

    def pop(self) -> int:
        """Go back to the place that `push` remembered last, and return how many turns that takes back.

        Raises:
            NoTurnError: nothing is remembered.
        """
        if not self._pushed:
            raise NoTurnError("nothing was pushed", hint="`/push` remembers how far the conversation is")
        place, before = self._pushed.pop(), self.turns
        while self.turns > place:
            self.undo()
        return before - self.turns
