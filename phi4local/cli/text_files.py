"""Text that comes from files and pipes, to be part of a prompt."""

from __future__ import annotations

import codecs
import sys
from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.errors import InputFileError

if TYPE_CHECKING:
    from pathlib import Path

MOST_BYTES = 16 * 2**20
"""Many times what the largest context of the family holds."""
STANDARD_INPUT = "standard input"
_IMAGES = {
    "a PNG image": b"\x89PNG",
    "a JPEG image": b"\xff\xd8\xff",
    "a GIF image": b"GIF8",
    "a TIFF image": b"II*\0",
    "a WebP image": b"RIFF",
    "a BMP image": b"BM",
}
_ENCODINGS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_TEXT_ONLY = "describe it in words, or take the text out of it: `tesseract FILE - | phi4local run …`"
_NO_PDF = "take the text out of it: `pdftotext FILE - | phi4local run …`"


def read_file(path: Path | str) -> str:
    """Return the text of a file; UTF-16 is understood where the file says so, as Windows writes it.

    Raises:
        InputFileError: it cannot be read, is too large, or is no text.
    """
    from pathlib import Path

    try:
        with Path(path).expanduser().open("rb") as file:
            return decoded(file.read(MOST_BYTES + 1), path)
    except (OSError, ValueError, RuntimeError) as error:  # NUL in a name, no such user
        problem = getattr(error, "strerror", None) or str(error)
        raise InputFileError(path, f"cannot be read: {problem.lower()}") from error


def read_standard_input() -> str:
    """Return everything that comes on standard input.

    Raises:
        InputFileError: it is too large, or no text.
    """
    source = getattr(sys.stdin, "buffer", None)
    if source is None:  # replaced by a text stream
        return sys.stdin.read()
    return decoded(source.read(MOST_BYTES + 1), STANDARD_INPUT)


def decoded(data: bytes, path: Path | str) -> str:
    r"""Return bytes as text, line ends as `\n`. What is not UTF-8 in it is replaced, with a notice.

    Raises:
        InputFileError: too many bytes, or no text.
    """
    if len(data) > MOST_BYTES:
        raise InputFileError(
            path, f"has more than {MOST_BYTES:,} bytes", hint="no context holds that much: give a part of it"
        )
    encoding = next((name for mark, name in _ENCODINGS.items() if data.startswith(mark)), "utf-8")
    if encoding != "utf-16":
        _refuse_binary(data, path)
    text = data.decode(encoding, errors="replace")
    if "\ufffd" in text and "\ufffd".encode() not in data:
        render.notice(f"note: {path} is not all UTF-8; what could not be read became \ufffd")
    return text.replace("\r\n", "\n")


def _refuse_binary(data: bytes, path: Path | str) -> None:
    if data.startswith(b"%PDF-"):
        raise InputFileError(path, "is a PDF, not text", hint=_NO_PDF)
    if b"\0" not in data[: 2**16]:
        return
    kind = next((kind for kind, magic in _IMAGES.items() if data.startswith(magic)), None)
    if kind:
        raise image_error(path, kind)
    raise InputFileError(path, "is not text")


def image_error(path: Path | str, kind: str = "an image") -> InputFileError:
    """Return the error about an image: no model that runs here sees anything."""
    return InputFileError(
        path, f"is {kind}, and the Phi-4 models that run here read text only", hint=_TEXT_ONLY
    )


def system_text(value: str | None) -> str | None:
    """Return the text of `--system`; `@FILE` stands for what is in the file.

    Raises:
        InputFileError: it cannot be read, or is no text.
    """
    if value is None or not value.startswith("@"):
        return value
    return read_file(value[1:]).rstrip("\n")
