"""A conversation as the lines of its file tell it, one after the other; `record` says what they look like."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.messages import Message, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

FORMAT = 1
"""Of the files; a later one may have events that are not known here."""
SETTINGS = "settings"
"""The kind of notes that hold settings."""
MOST_REMARKS = 20
FIRST_WORDS_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One message and what is known about it.

    Attributes:
        message: who said what.
        at: when, `2026-01-31T12:00:00Z`.
        reason: why an answer ended: `stop`, `length`, `cancelled`, …
        tokens: how many the answer has.
        thought: what a reasoning model thought before it; never sent back as history.
    """

    message: Message
    at: str | None = None
    reason: str | None = None
    tokens: int | None = None
    thought: str | None = None


@dataclass(slots=True, kw_only=True)
class Transcript:
    """A conversation as its file tells it.

    Attributes:
        name: what the person calls it.
        id: unique; stays when the name changes. Empty if the file has no first line.
        created: when it began, `2026-01-31T12:00:00Z`.
        model, digest: who answered last, and a name for the content of that model's file.
        system: the instruction before everything.
        forked_from: `id` and `turns` of the session that this one is a copy of.
        format: of the file; a newer one is read as far as it is known.
        said: questions and answers that were not taken back; each question is followed by its answer.
        settings: what was changed while it went on, by name; `None` for what the model wants.
        first_words: of the first question ever, for lists.
        skipped: what could not be read, in words.

    Example: `Transcript.of([Message("user", "Hi"), Message("assistant", "Hello!")]).turns` is 1.
    """

    name: str = ""
    id: str = ""
    created: str | None = None
    model: str | None = None
    digest: str | None = None
    system: str | None = None
    forked_from: dict[str, Any] | None = None
    format: int | None = None
    said: list[Said] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    first_words: str = ""
    skipped: list[str] = field(default_factory=list)
    _unsaid_remarks: int = 0

    @classmethod
    def of(cls, messages: Sequence[Message], *, name: str = "", model: str | None = None) -> Transcript:
        """Return a conversation that was not kept, for `export`."""
        system = next((message.content for message in messages if message.role == "system"), None)
        said = [Said(message=message) for message in messages if message.role != "system"]
        return cls(name=name, model=model, system=system, said=said, created=now())

    @property
    def messages(self) -> list[Message]:
        """The system message and what was said."""
        before = [Message("system", self.system)] if self.system else []
        return before + [said.message for said in self.said]

    @property
    def turns(self) -> int:
        """How many questions there are."""
        return sum(said.message.role == "user" for said in self.said)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what has to be written, after a first line, for a copy of what was said."""
        for said in self.said:
            facts = {"at": said.at, "reason": said.reason, "tokens": said.tokens, "thought": said.thought}
            known = {name: value for name, value in facts.items() if value is not None}
            yield {"event": said.message.role, "text": said.message.content, **known}
        if self.settings:
            yield {"event": "note", "kind": SETTINGS, "facts": self.settings}

    def remark(self, text: str) -> None:
        """Keep in words that something was left out; of very many remarks only their number."""
        if len(self.skipped) < MOST_REMARKS:
            self.skipped.append(text)
            return
        self._unsaid_remarks += 1
        self.skipped[MOST_REMARKS:] = [f"and {self._unsaid_remarks:,} more"]

    def apply(self, event: dict[str, Any]) -> str | None:
        """Take the next event; return in words what is wrong with it, or `None`.

        Example: `apply({"event": "user", "text": "Hi", "at": "2026-01-31T12:00:00Z"})`.
        """
        kind = event.get("event")
        if not isinstance(kind, str) or kind not in _APPLY:
            return f"is of a kind that this phi4local does not know: {str(kind)[:40]!r}"
        for name, types in _REQUIRED[kind].items():
            if not isinstance(event.get(name, _MISSING), types):
                return f"is damaged: `{name}` of a `{kind}` line"
        return _APPLY[kind](self, event)


def _header(to: Transcript, event: dict[str, Any]) -> str | None:
    if to.id:
        return "is a second beginning"
    to.format, to.id, to.created = event["format"], event["id"], _known(event, "at", str)
    to.model, to.digest = _known(event, "model", str), _known(event, "digest", str)
    to.system = _known(event, "system", str) or None
    to.forked_from = _known(event, "forked_from", dict)
    if to.format > FORMAT:
        return f"says that a newer phi4local wrote this (format {to.format}): what is new was left out"
    return None


def _user(to: Transcript, event: dict[str, Any]) -> str | None:
    problem = None
    if to.said and to.said[-1].message.role == "user":
        to.said.pop()  # templates of several models refuse two questions in a row
        problem = "follows a question without an answer, which was left out"
    to.said.append(_said("user", event))
    to.first_words = to.first_words or _first_words(event["text"])
    return problem


def _assistant(to: Transcript, event: dict[str, Any]) -> str | None:
    if not to.said or to.said[-1].message.role != "user":
        return "is an answer without a question"
    to.said.append(_said("assistant", event))
    return None


def _undo(to: Transcript, _event: dict[str, Any]) -> str | None:
    last = max((place for place, said in enumerate(to.said) if said.message.role == "user"), default=None)
    if last is None:
        return "takes back a question where there is none"
    del to.said[last:]
    return None


def _clear(to: Transcript, _event: dict[str, Any]) -> None:
    to.said.clear()


def _system(to: Transcript, event: dict[str, Any]) -> None:
    to.system = event["text"] or None


def _model(to: Transcript, event: dict[str, Any]) -> None:
    to.model, to.digest = event["name"], _known(event, "digest", str)


def _note(to: Transcript, event: dict[str, Any]) -> None:
    """Change no message, but remember settings."""
    if event["kind"] == SETTINGS:
        to.settings |= _known(event, "facts", dict) or {}


_MISSING = object()
_REQUIRED: dict[str, dict[str, Any]] = {
    "session": {"format": int, "id": str},
    "user": {"text": str},
    "assistant": {"text": str},
    "undo": {},
    "clear": {},
    "system": {"text": str | None},
    "model": {"name": str},
    "note": {"kind": str},
}
_APPLY: dict[str, Callable[[Transcript, dict[str, Any]], str | None]] = {
    "session": _header,
    "user": _user,
    "assistant": _assistant,
    "undo": _undo,
    "clear": _clear,
    "system": _system,
    "model": _model,
    "note": _note,
}


def _known(event: dict[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401 - JSON
    value = event.get(name)
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _said(role: Role, event: dict[str, Any]) -> Said:
    return Said(
        message=Message(role, event["text"]),
        at=_known(event, "at", str),
        reason=_known(event, "reason", str),
        tokens=_known(event, "tokens", int),
        thought=_known(event, "thought", str),
    )


def _first_words(text: str) -> str:
    words = " ".join(text[: 8 * FIRST_WORDS_CHARACTERS].split())
    words = words or "…"
    return words if len(words) <= FIRST_WORDS_CHARACTERS else words[: FIRST_WORDS_CHARACTERS - 1] + "…"


def now() -> str:
    """Return the time as it stands in the files. Example: `2026-01-31T12:00:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
