"""What stands in a line of markdown, and how a paragraph, heading, list item or quote is drawn.

Markdown is read line by line, because a reply comes line by line: nothing said later changes a finished
block. Every line feed ends a row. CommonMark would join the lines of a paragraph, but a model that writes
short lines means them: a poem, an address, steps of a proof.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from phi4local.cli.chat.markdown.inline import QUIET, completed, spans
from phi4local.cli.chat.markdown.rows import NOTHING, Row, Span, cells, row, wrap

_QUOTE = re.compile(r" {0,3}> ?")
_ITEM = re.compile(r"([-*+]|\d{1,9}[.)])(?:\s+|$)")
_HEADING = re.compile(r"(#{1,6})(?:\s+|$)(.*?)(?:\s+#+)?\s*$")
_RULE = re.compile(r"(?:(?:-\s*){3,}|(?:\*\s*){3,}|(?:_\s*){3,})$")
_FENCE = re.compile(r"(`{3,}(?=[^`]*$)|~{3,})\s*(\S*)")
_HEADINGS = {1: "bold underline", 2: "bold"}


@dataclass(frozen=True)
class View:
    """The terminal: its columns and rows, and whether it shows colours."""

    columns: int
    rows: int
    colour: bool

    @property
    def width(self) -> int:
        """Columns to lay out for; a terminal of fewer than ten breaks the rows itself."""
        return max(self.columns, 10)

    @property
    def budget(self) -> int:
        """Rows that may be open at once: all on the screen, and few enough to be redone at each token."""
        return max(2, min(self.rows - 4, 1600 // self.width))

    def row(self, *pieces: Span) -> Row:
        """Return pieces as one row."""
        return row(pieces if self.colour else [Span(piece.text) for piece in pieces])


class Line(NamedTuple):
    """One line of markdown: what it is, its text without the marks, and where it stands."""

    kind: str
    text: str
    quotes: int = 0
    indent: int = 0
    mark: str = ""


def read_line(source: str) -> Line:
    """Return what a line is, seen by itself.

    Example: `read_line("  - milk")` is `Line("item", "milk", 0, 2, "-")`.
    """
    quotes, place = 0, 0
    while found := _QUOTE.match(source, place):
        quotes, place = quotes + 1, found.end()
    rest = source[place:].expandtabs(4)
    text = rest.strip()
    where = (quotes, len(rest) - len(rest.lstrip()))
    if not text:
        return Line("blank", "", *where)
    if found := _FENCE.match(text):
        return Line("fence", found[2], *where, found[1])
    if _RULE.match(text):
        return Line("rule", text, *where)
    if found := _HEADING.match(text):
        return Line("heading", found[2], *where, found[1])
    if found := _ITEM.match(text):
        return Line("item", text[found.end() :], *where, found[1])
    return Line("text", text, *where)


class Nesting(NamedTuple):
    """The marks' indents of the list items that are open, outermost first.

    Models indent nested lists by two, three or four spaces, whatever the width of the mark above: two cells
    deeper than the mark above is nested.
    """

    indents: tuple[int, ...] = ()

    def item(self, indent: int) -> Nesting:
        """Return the nesting with an item whose mark has `indent` spaces before it."""
        return Nesting((*(outer for outer in self.indents if outer + 1 < indent), indent))

    def text(self, indent: int) -> Nesting:
        """Return the nesting around text after a blank line."""
        return Nesting(tuple(outer for outer in self.indents if outer + 1 < indent))

    @property
    def depth(self) -> int:
        """How many items are around."""
        return len(self.indents)


@dataclass(frozen=True)
class Paragraph:
    """Text with what stands before its first row (`lead`) and before the others (`hang`)."""

    text: str
    lead: Row = NOTHING
    hang: Row = NOTHING
    style: str = ""
    quotes: int = 0
    joins: bool = True
    open: bool = False

    def joined(self, text: str, between: str = "\n") -> Paragraph:
        """Return this with more text."""
        return replace(self, text=f"{self.text}{between}{text}" if self.text else text)

    def rows(self, view: View) -> list[Row]:
        """Draw."""
        if not self.text and self.lead == self.hang:
            return []
        shown = completed(self.text) if self.open and view.colour else self.text
        return wrap(spans(shown, self.style, colour=view.colour), view.width, self.lead, self.hang)

    def rest(self, last: Row | None = None) -> Paragraph:
        """Return what follows this after it was written for good, beside its `last` row or below it."""
        return replace(self, text="", lead=last or self.hang)


class Rule(NamedTuple):
    """A line across."""

    source: str
    before: Row

    def rows(self, view: View) -> list[Row]:
        """Draw."""
        if not view.colour:
            return wrap([Span(self.source)], view.width, self.before, self.before)
        length = max(1, min(view.width, 80) - self.before.cells)
        line = view.row(Span("─" * length, QUIET))
        return [Row(self.before.text + line.text, self.before.cells + line.cells)]


class Verbatim(NamedTuple):
    """A line as it was written, for the terminal to break: code that can be copied."""

    spans: tuple[Span, ...]

    def rows(self, view: View) -> list[Row]:
        """Draw."""
        return [view.row(*self.spans)]


class Gap:
    """An empty row."""

    def rows(self, _view: View) -> list[Row]:
        """Draw."""
        return [NOTHING]


def paragraph(line: Line, nesting: Nesting, view: View) -> Paragraph:
    """Return the paragraph that begins with `line`; `nesting` has its own item already.

    Indents and quote bars take at most half of the terminal, however deep the nesting.
    """
    bars = ("│ " if view.colour else "> ") * min(line.quotes, view.width // 8)
    if line.kind == "heading":
        style = _HEADINGS.get(len(line.mark), "bold italic")
        text = line.text if view.colour else f"{line.mark} {line.text}"
        quoted = view.row(Span(bars, QUIET))
        return Paragraph(text, quoted, quoted, style, line.quotes, joins=False)
    indent = " " * min(2 * (nesting.depth - (line.kind == "item")), view.width // 4)
    bullet = "•" if view.colour and not line.mark[:1].isdigit() else line.mark
    mark = f"{bullet} " if line.kind == "item" else ""
    lead = view.row(Span(bars, QUIET), Span(indent + mark))
    hang = view.row(Span(bars, QUIET), Span(indent + " " * cells(mark)))
    return Paragraph(line.text, lead, hang, "", line.quotes)
