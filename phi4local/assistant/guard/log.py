"""The guard's log: what was blocked, masked or not checked, without the text itself."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING

from phi4local.errors import FileWriteError

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.assistant.guard.finding import Direction


class GuardLog:
    """A file with one JSON object a line: what was done, when, by which rule, and the hash of the text.

    The hash is salted anew in each process: equal texts of one run can be told, and none can be guessed later
    from a list of numbers or names. Only the owner can read the file.

    Args:
        path: the file; it is appended to.
        with_text: write the checked text, too.

    Raises:
        FileWriteError: the file cannot be written.
    """

    def __init__(self, path: Path, *, with_text: bool = False) -> None:
        self._path = path
        self._with_text = with_text
        self._salt = secrets.token_bytes(16)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._append(b"")
        except OSError as error:
            hint = "set `log_file` of the policy to a place that can be written"
            raise FileWriteError(path, (error.strerror or str(error)).lower(), hint=hint) from error

    def add(self, direction: Direction, action: str, rule: str, category: str, text: str) -> str | None:
        """Append a line; return what went wrong, if anything did, for a person to read."""
        data = text.encode("utf-8", "surrogatepass")
        entry = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "direction": direction,
            "action": action,
            "rule": rule,
            "category": category,
            "characters": len(text),
            "hash": hashlib.blake2b(data, digest_size=16, salt=self._salt).hexdigest(),
        }
        if self._with_text:
            entry["text"] = text
        try:
            self._append(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            return (
                f"the guard's log `{self._path}` cannot be written: {(error.strerror or str(error)).lower()}"
            )
        return None

    def _append(self, line: bytes) -> None:
        # One write at the end of the file, so that several processes can share it.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
