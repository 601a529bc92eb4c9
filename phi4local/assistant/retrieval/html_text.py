"""The text of an HTML page, with the line of the source where each piece stands."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from phi4local.errors import DocumentError

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 20.0
"""Longest time for one page; pages made to be slow are given up."""
_PIECE = 8192
_DROPPED = frozenset({"script", "style", "template", "noscript", "svg", "head"})
_PARAGRAPHS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "details",
        "div",
        "dl",
        "fieldset",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "title",
        "ul",
    ]
)
_LINES = frozenset({"br", "dd", "dt", "figcaption", "li", "option", "summary", "tr"})
_CELLS = frozenset({"td", "th"})
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}


def html_lines(path: Path, text: str) -> list[tuple[int, str]]:
    """Return line number and text of everything that a browser would show.

    Headings begin with `#` as in Markdown, and an empty line stands between paragraphs.
    Example: `<h1>Cats</h1>` on line 7 gives `(7, "# Cats")`.

    Raises:
        DocumentError: the page takes too long.
    """
    reader = _Reader()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    deadline = time.monotonic() + SECONDS
    try:
        for start in range(0, len(text), _PIECE):
            reader.feed(text[start : start + _PIECE])
            if time.monotonic() > deadline:
                raise DocumentError(path, f"is HTML that takes longer than {SECONDS:.0f} seconds to read")
        # Not close(): it is quadratic on an unfinished end. A last tag brings out the text before it.
        reader.feed("<p>")
    except AssertionError:  # the standard library's answer to some broken declarations
        raise DocumentError(path, "is damaged HTML") from None
    reader.break_line()
    return reader.lines


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[tuple[int, str]] = []
        self._parts: list[str] = []
        self._number = 1
        self._prefix = ""
        self._dropped: str | None = None
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if self._dropped:
            if tag == "body" and self._dropped == "head":  # a head that nobody closed
                self._dropped = None
            return
        if tag in _DROPPED:
            self._dropped = tag
            return
        self._pre += tag == "pre"
        self._boundary(tag)
        if tag in _HEADINGS:
            self._prefix = _HEADINGS[tag] + " "
        elif tag == "li":
            self._prefix = "- "

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        if not self._dropped:
            self._boundary(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._dropped:
            if tag == self._dropped:
                self._dropped = None
            return
        self._boundary(tag)
        self._pre -= tag == "pre" and self._pre > 0

    def handle_data(self, data: str) -> None:
        if self._dropped:
            return
        first = self.getpos()[0]
        for offset, piece in enumerate(data.split("\n")):
            if offset:
                self.break_line(keep_empty=self._pre > 0)
            if not self._parts:
                self._number = first + offset
            self._parts.append(piece if self._pre else re.sub(r"\s+", " ", piece))

    def break_line(self, *, keep_empty: bool = False) -> None:
        """End the line that was being collected."""
        text = "".join(self._parts)
        text = text.rstrip() if self._pre else text.strip().removesuffix(" |")
        self._parts = []
        if text:
            self.lines.append((self._number, self._prefix + text))
            self._prefix = ""
        elif keep_empty:
            self.lines.append((self._number, ""))

    def _boundary(self, tag: str) -> None:
        if tag in _CELLS:
            if "".join(self._parts[-1:]).strip(" |"):
                self._parts.append(" | ")
        elif tag in _PARAGRAPHS or tag in _HEADINGS:
            self.break_line()
            self._prefix = ""
            if self.lines and self.lines[-1][1]:
                self.lines.append((self.getpos()[0], ""))
        elif tag in _LINES:
            self.break_line()
