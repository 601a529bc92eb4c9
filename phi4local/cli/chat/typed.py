"""What a person typed before, kept in a file."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from prompt_toolkit.history import FileHistory

from phi4local.errors import FileWriteError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LONGEST_KEPT = 20_000
"""Characters of one entry; a longer paste is not worth an arrow key."""


class TypedBefore(FileHistory):
    """A history file that only its owner reads, and that never ends a conversation.

    Args:
        path: made when it is not there.
        unfolded: puts pasted text back in full.

    Raises:
        FileWriteError: it cannot be made.
    """

    def __init__(self, path: Path, unfolded: Callable[[str], str]) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            problem = (error.strerror or str(error)).lower()
            raise FileWriteError(path, problem, hint="`--no-history` keeps none") from error
        super().__init__(str(path))
        self._unfolded = unfolded

    def append_string(self, string: str) -> None:
        """Keep what was typed, unless it is very long."""
        text = self._unfolded(string)
        if len(text) <= LONGEST_KEPT:
            super().append_string(text)

    def store_string(self, string: str) -> None:
        """Write it down; a full disk must not end the conversation."""
        with contextlib.suppress(OSError):
            super().store_string(string)
