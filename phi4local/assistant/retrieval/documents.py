"""A file of somebody's, as lines of text with the numbers that an editor shows."""

from __future__ import annotations

import codecs
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from phi4local.assistant.retrieval.html_text import html_lines
from phi4local.assistant.retrieval.pdf import pdf_pages
from phi4local.errors import DocumentError

Kind = Literal["text", "markup", "code", "html", "pdf"]

FILE_BYTES = 16_000_000
"""Largest text file, in bytes: about 4 million tokens, more than any context and than a person has read."""
PDF_BYTES = 256_000_000
HTML_BYTES = 8_000_000
LINES = 400_000
LINE_CHARACTERS = 2_000
"""Longer lines (minified code, paragraphs of an export) go on in another piece with the same number."""

_HTML = frozenset({".html", ".htm", ".xhtml"})
_MARKUP = frozenset({".md", ".markdown", ".rst", ".adoc", ".org"})
_TEXT = frozenset({"", ".txt", ".text", ".log", ".csv", ".tsv"})
# UTF-32 first: its little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Line(NamedTuple):
    """One line: its number from 1, its text, and for a PDF the page on which the number counts."""

    number: int
    text: str
    page: int | None = None


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Attributes:
        path: where it lies.
        name: how it is called in prompts and citations, with `/` and without control characters.
        lines: its text.
        kind: what it was read as.
        note: something a person should know about the reading, for example a guessed encoding.
    """

    path: Path
    name: str
    lines: tuple[Line, ...]
    kind: Kind
    note: str | None = None

    @property
    def text(self) -> str:
        """The whole text; pieces of a line that was too long are joined again."""
        parts: list[str] = []
        before: Line | None = None
        for line in self.lines:
            same = before is not None and line[::2] == before[::2]
            parts += ["" if same or before is None else "\n", line.text]
            before = line
        return "".join(parts)


def read_document(path: Path | str, *, name: str | None = None) -> Document:
    """Read a text, markup, code, HTML or PDF file.

    Example: `read_document("notes.md").lines[0]` is `Line(number=1, text='# Notes', page=None)`.

    Raises:
        DocumentError: it is missing, unreadable, binary, encrypted, damaged, too large or without text.
        MissingExtraError: it is a PDF and pypdf is not installed.
    """
    path = Path(path)
    shown = printable(name if name is not None else path.as_posix())
    size = _size(path)
    head = _read(path, 1024)
    if path.suffix.lower() == ".pdf" or head.startswith(b"%PDF-"):
        _refuse_large(path, size, PDF_BYTES)
        pages = pdf_pages(path)
        lines = [
            Line(number, text, page)
            for page, content in enumerate(pages, 1)
            for number, text in enumerate(_split(content), 1)
        ]
        return Document(path, shown, _checked(path, lines, "pdf"), "pdf")
    kind = _kind(path, head)
    limit = HTML_BYTES if kind == "html" else FILE_BYTES
    _refuse_large(path, size, limit)
    text, note = _decode(path, _read(path, limit + 1))
    if kind == "html":
        lines = [Line(number, piece) for number, piece in html_lines(path, text)]
    else:
        lines = [Line(number, piece) for number, piece in enumerate(_split(text), 1)]
    return Document(path, shown, _checked(path, lines, kind), kind, note)


def printable(name: str) -> str:
    """Return a file name as one line of harmless text: `a[1].txt` becomes `a(1).txt`, a line break `?`."""
    return "".join(
        {"[": "(", "]": ")"}.get(letter, letter if letter.isprintable() else "?") for letter in name
    )


def _size(path: Path) -> int:
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        raise DocumentError(path, _reason(error)) from None
    if stat.S_ISDIR(about.st_mode):
        raise DocumentError(path, "is a folder", hint="folders are read with --docs")
    if not stat.S_ISREG(about.st_mode):
        raise DocumentError(path, "is no ordinary file but a device, pipe or socket")
    return about.st_size


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return "may not be read by you"
    return f"cannot be read: {getattr(error, 'strerror', None) or 'its name is impossible'}"


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except (OSError, ValueError) as error:
        raise DocumentError(path, _reason(error)) from None


def _refuse_large(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise DocumentError(path, f"has {size:,} bytes, and at most {limit:,} are read")


def _kind(path: Path, head: bytes) -> Kind:
    suffix = path.suffix.lower()
    if suffix in _HTML or head.lstrip()[:14].lower() == b"<!doctype html":
        return "html"
    if suffix in _MARKUP:
        return "markup"
    return "text" if suffix in _TEXT else "code"


def _decode(path: Path, data: bytes) -> tuple[str, str | None]:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            text = data.decode(encoding, errors="replace")
            return text, "it holds broken characters" if "\ufffd" in text else None
    if b"\0" in data:
        raise DocumentError(path, "is a binary file")
    try:
        text, note = data.decode("utf-8"), None
    except UnicodeDecodeError:
        text, note = data.decode("cp1252", errors="replace"), "it is not UTF-8 and was read as Windows-1252"
    control = sum(text.count(chr(code)) for code in range(32) if chr(code) not in "\t\n\r\f\x1b")
    if control * 50 > len(text):
        raise DocumentError(path, "is a binary file")
    return text, note


def _split(text: str) -> list[str]:
    # Not str.splitlines: form feeds and U+2028 end no line in an editor, and numbers must be an editor's.
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _checked(path: Path, lines: list[Line], kind: Kind) -> tuple[Line, ...]:
    pieces = [
        Line(line.number, line.text[start : start + LINE_CHARACTERS], line.page)
        for line in lines
        for start in range(0, max(len(line.text), 1), LINE_CHARACTERS)
    ]
    if len(pieces) > LINES:
        raise DocumentError(path, f"has {len(pieces):,} lines, and at most {LINES:,} are read")
    if not any(piece.text.strip() for piece in pieces):
        scanned = "pages may be pictures: a text recognition program can add the text"
        hint = scanned if kind == "pdf" else "an empty file says nothing"
        raise DocumentError(path, "holds no text", hint=hint)
    return tuple(pieces)
