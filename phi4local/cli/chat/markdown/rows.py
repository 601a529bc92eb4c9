"""Rows of a terminal: styled text broken between words, and how many cells it takes."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len, get_character_cell_size
from rich.color import ColorSystem
from rich.style import Style

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_WORD = 4
"""Rows that one word may take in one piece, so that a long address can be copied; longer words are cut."""

# Chinese and Japanese have no spaces: a line may end after each of their characters.
_PARTS = re.compile(r"\n|[^\S\n]+|[\u2e80-\ua4cf\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff]|[^\s\u2e80-\ua4cf\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff]+")  # fmt: skip  # noqa: E501


class Span(NamedTuple):
    """A piece of text with a style of rich, for example "bold cyan", or "" for none."""

    text: str
    style: str = ""


class Row(NamedTuple):
    """Text ready for the terminal, with escape sequences, and the cells it takes.

    A row of more cells than the terminal has columns is broken by the terminal, and copied as one line.
    """

    text: str
    cells: int

    def height(self, columns: int) -> int:
        """Return how many rows of a terminal this takes."""
        return max(1, -(-self.cells // columns))


def cells(text: str) -> int:
    """Return an upper bound of the cells of `text`.

    Terminals disagree about joined emoji: some draw one of two cells, others each part. A row that is a
    little short harms nobody, a row that is too long breaks where nobody counted it.

    Example: 5 for "naïve", 4 for "漢字", and 6 for a family of three joined emoji that rich counts as 2.
    """
    if text.isascii():
        return len(text)
    return max(cell_len(text), sum(map(get_character_cell_size, text)))


@functools.lru_cache(maxsize=256)
def _style(definition: str) -> Style:
    return Style.parse(definition)


def paint(text: str, style: str) -> str:
    """Return `text` between the escape sequences of `style`."""
    return _style(style).render(text, color_system=ColorSystem.STANDARD) if style and text else text


def row(spans: Iterable[Span]) -> Row:
    """Return spans as one row."""
    spans = list(spans)
    return Row("".join(paint(*span) for span in spans), sum(cells(span.text) for span in spans))


NOTHING = Row("", 0)


def wrap(spans: Iterable[Span], columns: int, lead: Row = NOTHING, hang: Row = NOTHING) -> list[Row]:
    """Break styled text between words into rows of at most `columns` cells.

    `lead` stands before the first row and `hang` before each other one; without words there is only `lead`.

    Example: `wrap([Span("one two three")], 10)` has the rows "one two" and "three".
    """
    lines = _Lines(columns, lead, hang)
    word: list[Span] = []
    for text, style in spans:
        for part in _PARTS.findall(text):
            if part == "\n" or part.isspace():
                lines.place(word)
                word = []
                lines.space(part, style)
            elif len(part) == 1 and not part.isascii() and get_character_cell_size(part) > 1:
                lines.place([*word, Span(part, style)])
                word = []
            else:
                word.append(Span(part, style))
    lines.place(word)
    return lines.rows()


@dataclass
class _Lines:
    """Where the next word goes."""

    columns: int
    lead: Row
    hang: Row
    done: list[Row] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    waiting: Span | None = None

    def __post_init__(self) -> None:
        self.used = self.lead.cells

    def space(self, part: str, style: str) -> None:
        """Keep white space for the next word; end the row at a line feed."""
        if part == "\n":
            self._end()
        else:
            self.waiting = Span(part.expandtabs(4), style)

    def place(self, word: Sequence[Span]) -> None:
        """Put a word on this row or the next."""
        if not word:
            return
        width = sum(cells(span.text) for span in word)
        space = cells(self.waiting.text) if self.waiting else 0
        if self.used + space + width > self.columns and self.used > self.hang.cells:
            self._end()
            space = 0
        if self.waiting and self.used > 0:
            self._add(self.waiting, space)
        self.waiting = None
        if self.used + width <= self.columns or self._terminal_may_break(word, width):
            for span in word:
                self._add(span, cells(span.text))
        else:
            self._chop(word)

    def rows(self) -> list[Row]:
        """Return all rows; the last one may have room."""
        self._end()
        return self.done

    def _add(self, span: Span, width: int) -> None:
        if self.spans and self.spans[-1].style == span.style:
            self.spans[-1] = Span(self.spans[-1].text + span.text, span.style)
        else:
            self.spans.append(span)
        self.used += width

    def _end(self) -> None:
        first = self.hang if self.done else self.lead
        painted = "".join(paint(*span) for span in self.spans)
        self.done.append(Row(first.text + painted, self.used))
        self.spans, self.waiting = [], None
        self.used = self.hang.cells

    def _terminal_may_break(self, word: Sequence[Span], width: int) -> bool:
        certain = all(span.text.isascii() for span in word)
        return certain and self.used + width <= LONGEST_WORD * self.columns

    def _chop(self, word: Sequence[Span]) -> None:
        for text, style in word:
            for character in text:
                width = cells(character)
                if self.used + width > self.columns and self.used > self.hang.cells:
                    self._end()
                self._add(Span(character, style), width)
