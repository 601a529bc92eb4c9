"""What stands in a session's file, and how it adds up to a conversation.

A file has one JSON object a line and is only ever appended to:

    {"event": "session", "format": 1, "id": "20260131T120000-1f2e", "at": "2026-01-31T12:00:00Z",
     "model": "phi-4:Q4_K_M", "digest": "sampled-…", "system": "You are kind."}
    {"event": "user", "text": "Hi", "at": "…"}
    {"event": "assistant", "text": "Hello!", "reason": "stop", "tokens": 3, "thought": "…", "at": "…"}
    {"event": "undo", "at": "…"}                               the last question and its answer
    {"event": "clear", "at": "…"}                              everything but the system message
    {"event": "system", "text": "You are brief.", "at": "…"}   null: none any more
    {"event": "model", "name": "phi-4:Q8_0", "digest": "…", "at": "…"}
    {"event": "note", "kind": "settings", "facts": {"temperature": 0.2}, "at": "…"}

A copy's first line has `"forked_from": {"id": "…", "turns": 4}` too. Every line was written in one go, so
what a killed process leaves is whole lines and at most one torn one at the end.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from phi4local.assistant.sessions.transcript import Transcript
from phi4local.errors import InvalidSettingError, TextTooLongError

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_LINE_BYTES = 16 * 2**20
"""A longer line is damaged: no context holds 16 MiB of text."""


def as_text(text: str) -> str:
    r"""Return `text` as Unicode can have it: half a surrogate pair becomes U+FFFD.

    Example: `as_text("a\ud83d")` is `"a\ufffd"`.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def encode(values: dict[str, Any], what: str) -> bytes:
    """Return an object as a line.

    Args:
        values: an event, for example.
        what: how an error calls it.

    Raises:
        TextTooLongError: it would be longer than `MOST_LINE_BYTES`.
        InvalidSettingError: a value is no JSON.
    """
    try:
        line = as_text(json.dumps(values, ensure_ascii=False, allow_nan=False)).encode() + b"\n"
    except (TypeError, ValueError) as error:  # of a `note`, NaN for example
        raise InvalidSettingError(what, f"cannot be kept: {error}") from error
    if len(line) > MOST_LINE_BYTES:
        raise TextTooLongError(len(line), MOST_LINE_BYTES)
    return line


def read(file: IO[bytes], name: str) -> Transcript:
    """Read what is whole in a session's file; what is not is in `skipped`, and is no error.

    Args:
        file: open at its beginning.
        name: what the session is called.

    Raises:
        OSError: the operating system cannot read it.
    """
    transcript = Transcript(name=name)
    number = 0
    for number, line in enumerate(lines(file), start=1):
        problem = take_line(transcript, line)
        if problem:
            transcript.remark(f"line {number} {problem}")
    if not transcript.id:
        transcript.remark("the first line is missing: no id" if number else "the file is empty")
    return transcript


def lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the lines; `None` for one that is too long, of which little is held in memory."""
    begin = b"\xef\xbb\xbf"  # what editors on Windows write first
    while line := file.readline(MOST_LINE_BYTES + 1):
        yield line.removeprefix(begin) if len(line) <= MOST_LINE_BYTES else None
        begin = b""
        while len(line) > MOST_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MOST_LINE_BYTES + 1)


def take_line(transcript: Transcript, line: bytes | None) -> str | None:
    """Apply a line of a file; return in words what is wrong with it, or `None`.

    Args:
        transcript: what the lines before it said.
        line: with its line feed; `None` for one that is longer than `MOST_LINE_BYTES`.
    """
    if line is None:
        return f"is longer than {MOST_LINE_BYTES:,} bytes"
    if not line.strip():
        return None
    try:
        event = json.loads(line.decode(), object_hook=_clean)
    except (ValueError, RecursionError):
        return "is damaged" if line.endswith(b"\n") else "was not written to its end"
    return transcript.apply(event) if isinstance(event, dict) else "is damaged: no JSON object"


def _clean(values: dict[str, Any]) -> dict[str, Any]:
    return {key: as_text(value) if isinstance(value, str) else value for key, value in values.items()}
