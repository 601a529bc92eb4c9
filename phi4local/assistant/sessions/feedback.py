"""What a person thinks of answers: `/good` and `/bad`, kept as examples for a fine-tune.

`PHI4LOCAL_HOME/feedback.jsonl`, one object a line, only ever appended to:

    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}],
     "rating": "good", "note": "short", "model": "phi-4:Q4_K_M", "time": "2026-01-31T12:00:00Z"}
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from phi4local.assistant.sessions.record import as_text, encode
from phi4local.assistant.sessions.transcript import now
from phi4local.errors import NoTurnError
from phi4local.files import write_error
from phi4local.store.home import home, make_models_folder
from phi4local.store.locks import locked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.messages import Message

Rating = Literal["good", "bad"]
_LOCK = "feedback"


def feedback_file() -> Path:
    """Return where ratings are kept."""
    return home() / "feedback.jsonl"


def rate(
    messages: Sequence[Message], rating: Rating, *, note: str | None = None, model: str | None = None
) -> Path:
    """Keep what a person thinks of the last answer; return the file, when it is on the disk.

    Args:
        messages: the conversation; what follows the last answer is left out.
        rating: `good` or `bad`.
        note: why, in the person's words.
        model: who answered.

    Example: `rate(conversation.messages, "bad", note="too long", model="phi-4:Q4_K_M")`.

    Raises:
        NoTurnError: nothing was answered yet.
        TextTooLongError: the conversation is longer than 16 MiB.
        FileWriteError: the operating system refused.
    """
    last = max((place for place, message in enumerate(messages) if message.role == "assistant"), default=None)
    if last is None:
        raise NoTurnError("nothing was answered yet", hint="ask something first")
    turns = [{"role": message.role, "content": as_text(message.content)} for message in messages[: last + 1]]
    values = {"messages": turns, "rating": rating, "note": note, "model": model, "time": now()}
    line = encode(values, "feedback")
    make_models_folder()  # makes the home too, for its owner alone
    path = feedback_file()
    try:
        with locked(_LOCK):
            _append(path, line)
    except OSError as error:
        raise write_error(path, error) from error
    return path


def _append(path: Path, line: bytes) -> None:
    """Write a line in one go; a line that a killed process left without its end becomes one of its own."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o600), "r+b") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, size_bytes - 1))
        torn = file.read() not in (b"", b"\n")
        file.write(b"\n" + line if torn else line)
        file.flush()
        os.fsync(file.fileno())
