"""Tables: read row by row, drawn as wide as their words and never wider than the terminal."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phi4local.cli.chat.markdown.inline import QUIET, spans
from phi4local.cli.chat.markdown.rows import NOTHING, Row, Span, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.cli.chat.markdown.blocks import View

NARROWEST = 8
"""Cells a column must have on average; in less, each row becomes a list of names and values."""

_DELIMITER = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?")
_SPLIT = re.compile(r"(?<!\\)\|")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_BETWEEN = " │ "


def split_row(text: str) -> tuple[str, ...]:
    r"""Return the cells of a row. Example: `split_row("| a | b\\|c |")` is `("a", "b|c")`."""
    inner = text.strip().removeprefix("|")
    if inner.endswith("|") and not inner.endswith("\\|"):
        inner = inner[:-1]
    return tuple(_BREAK.sub("\n", cell.strip().replace("\\|", "|")) for cell in _SPLIT.split(inner))


def is_delimiter(text: str, header: str) -> bool:
    """Tell whether `text` is the line below the names of a table's columns, which stand in `header`."""
    if "|" not in header or not _DELIMITER.fullmatch(text):
        return False
    return len(split_row(text)) == len(split_row(header))


def _side(mark: str) -> str:
    if mark.endswith(":"):
        return "center" if mark.startswith(":") else "right"
    return "left"


@dataclass(frozen=True)
class Table:
    """The rows so far. `widths` is set once the table is longer than may be drawn again: then it stays."""

    header: tuple[str, ...]
    sides: tuple[str, ...]
    before: Row = NOTHING
    body: tuple[tuple[str, ...], ...] = ()
    widths: tuple[int, ...] | None = None

    @classmethod
    def begun(cls, header: str, delimiter: str, before: Row) -> Table:
        """Return the table that two lines begin."""
        return cls(split_row(header), tuple(map(_side, split_row(delimiter))), before)

    def with_row(self, text: str) -> Table:
        """Return this table with one more row: missing cells are empty, further ones join the last."""
        found, columns = split_row(text), len(self.header)
        kept = (*found[: columns - 1], " | ".join(found[columns - 1 :]), *[""] * columns)[:columns]
        return replace(self, body=(*self.body, kept))

    def frozen(self, view: View) -> Table:
        """Return the rest of this table after what was drawn: no rows yet, the same widths."""
        return replace(self, body=(), widths=self._widths(view, self._cells(view)))

    def rows(self, view: View) -> list[Row]:
        """Draw."""
        return list(_drawn(self, view))

    def draw(self, view: View) -> Iterator[Row]:
        """Draw without what stands before each row."""
        table = self._cells(view)
        widths = self._widths(view, table)
        return _grid(table, widths, self, view) if widths else self._records(view)

    def _cells(self, view: View) -> list[list[tuple[Span, ...]]]:
        names = [[spans(name, "bold", colour=view.colour) for name in self.header]]
        return names + [[spans(cell, colour=view.colour) for cell in row] for row in self.body]

    def _widths(self, view: View, table: list[list[tuple[Span, ...]]]) -> tuple[int, ...]:
        """Return the columns' widths, none if the terminal is too narrow for a table."""
        if self.widths is not None:
            return self.widths
        free = view.width - self.before.cells - len(_BETWEEN) * (len(self.header) - 1)
        wanted = [max(_width(row[column]) for row in table) for column in range(len(self.header))]
        if sum(wanted) <= free:
            return tuple(wanted)
        return _shared(wanted, free) if free >= NARROWEST * len(wanted) else ()

    def _records(self, view: View) -> Iterator[Row]:
        width, hang = view.width - self.before.cells, view.row(Span("  "))
        if not self.body and self.widths is None:
            yield from wrap(spans(" | ".join(self.header), "bold", colour=view.colour), width)
        for number, values in enumerate(self.body):
            if number or self.widths is not None:
                yield NOTHING
            for name, value in zip(self.header, values, strict=True):
                named = spans(name, "bold", colour=view.colour)
                yield from wrap([*named, Span(": "), *spans(value, colour=view.colour)], width, hang=hang)


@functools.lru_cache(maxsize=2)  # it stays as it is while its next row comes
def _drawn(table: Table, view: View) -> tuple[Row, ...]:
    before = table.before
    return tuple(Row(before.text + row.text, before.cells + row.cells) for row in table.draw(view))


def _width(cell: Sequence[Span]) -> int:
    return max(1, *(row.cells for row in wrap(cell, 10_000)))


def _shared(wanted: Sequence[int], free: int) -> tuple[int, ...]:
    """Give narrow columns what they want and divide the rest evenly.

    Example: (5, 90, 40) in 45 gives (5, 20, 20).
    """
    widths = [0] * len(wanted)
    left = free
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    for place, column in enumerate(order):
        widths[column] = min(wanted[column], left // (len(wanted) - place))
        left -= widths[column]
    return tuple(widths)


def _grid(
    table: list[list[tuple[Span, ...]]], widths: tuple[int, ...], shape: Table, view: View
) -> Iterator[Row]:
    laid = [[wrap(cell, width) for cell, width in zip(row, widths, strict=True)] for row in table]
    tall = any(len(cell) > 1 for row in laid[1:] for cell in row)
    frozen = shape.widths is not None
    line = view.row(Span("─┼─".join("─" * width for width in widths), QUIET))
    for number, cells in enumerate(laid):
        if number == 0 and frozen:
            continue
        if number == 1 or (number > 1 and tall) or (frozen and tall):
            yield from [] if frozen and number == 1 and not tall else [line]
        for index in range(max(map(len, cells))):
            yield _grid_row(cells, index, widths, shape.sides, view)
    if len(laid) == 1 and not frozen:
        yield line


def _grid_row(
    cells: list[list[Row]], index: int, widths: tuple[int, ...], sides: tuple[str, ...], view: View
) -> Row:
    text, between = "", view.row(Span(_BETWEEN, QUIET)).text
    for cell, width, side in zip(cells, widths, sides, strict=True):
        row = cell[index] if index < len(cell) else NOTHING
        spare = width - row.cells
        left = {"left": 0, "right": spare, "center": spare // 2}[side]
        text += f"{between if text else ''}{' ' * left}{row.text}{' ' * (spare - left)}"
    return Row(text, sum(widths) + len(_BETWEEN) * (len(widths) - 1))
