"""The text that is read; when none is given, the embedded model's held-out conversations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from phi4local import catalog
from phi4local.errors import FileFormatError

if TYPE_CHECKING:
    from pathlib import Path

EMBEDDED_MODEL = "phi4-nano"
_HELD_OUT = "heldout.jsonl"


def read_text(path: Path) -> str:
    """Return a text without the line end at its end, as llama.cpp's programs read their files.

    Raises:
        FileFormatError: it cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        hint = "give a file with plain text in UTF-8"
        raise FileFormatError(path, (error.strerror or str(error)).lower(), hint=hint) from error
    try:
        return data.removesuffix(b"\n").decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"is no UTF-8 text at byte {error.start:,}"
        raise FileFormatError(path, problem, hint="save it as plain text in UTF-8") from error


def held_out_text() -> str | None:
    """Return phi4-nano's held-out conversations as plain text, 208 kB; `None` outside a checkout.

    Roles are left out: messages follow each other on lines of their own, conversations after an empty line.
    """
    folder = catalog.find(EMBEDDED_MODEL).checkpoint_folder()
    path = folder / _HELD_OUT if folder else None
    if path is None or not path.is_file():
        return None
    conversations = [json.loads(line)["messages"] for line in path.read_text("utf-8").splitlines()]
    return "\n\n".join("\n".join(message["content"] for message in messages) for messages in conversations)


def write_held_out(folder: Path) -> Path | None:
    """Write that text into a folder and return the file; `None` outside a checkout."""
    text = held_out_text()
    if text is None:
        return None
    path = folder / "held-out.txt"
    path.write_bytes(text.encode())
    return path
