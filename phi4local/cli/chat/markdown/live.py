"""The last rows of the terminal, rewritten in place while they are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.cli.chat.markdown.rows import Row


class LiveRows:
    r"""Rows that may still change, at the end of everything written so far.

    Only the rows from the first change on are written again. Rows above the live ones are never touched:
    they may have left the screen, and what has left it cannot be changed.
    The cursor always stands behind the last row, and no column is ever counted from the left: what terminals
    count differently cannot move a row.

    Example: showing "ab" and then "abc" writes "ab" and then "c"; showing "x" after that writes
    "\r", erases to the end of the screen and writes "x".
    """

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._columns = 0
        self._fresh = True
        self._out: list[str] = []

    @property
    def certain(self) -> bool:
        """Whether each row takes one row of the terminal, so that a wider terminal changes nothing."""
        return all(row.cells <= self._columns for row in self._rows)

    def show(self, rows: Sequence[Row], columns: int) -> None:
        """Replace the live rows by `rows`, on a terminal of `columns` columns."""
        same = _common(self._rows, rows)
        if same == len(self._rows):
            self._append(rows[same:])
        elif same == len(self._rows) - 1 and same < len(rows) and _grows(self._rows[same], rows[same]):
            self._out.append(rows[same].text[len(self._rows[same].text) :])
            self._append(rows[same + 1 :])
        else:
            self._rewrite(min(same, max(len(rows) - 1, 0)), rows)
        self._rows, self._columns = list(rows), columns

    def write(self, text: str) -> None:
        """Write behind the last row, which can never be rewritten after that."""
        self.keep()
        self._out.append(text)

    def keep(self, rows: int | None = None) -> None:
        """Let go of the first rows, by default of all: they stay as they are."""
        self._rows = [] if rows is None else self._rows[rows:]

    def take(self) -> str:
        """Return what has to be written to the terminal since the last time."""
        text = "".join(self._out)
        self._out.clear()
        return text

    def _append(self, rows: Sequence[Row]) -> None:
        for row in rows:
            self._out.append(row.text if self._fresh else "\n" + row.text)
            self._fresh = False

    def _rewrite(self, first: int, rows: Sequence[Row]) -> None:
        above = sum(row.height(self._columns) for row in self._rows[first:]) - 1
        self._out.append((f"\x1b[{above}A" if above else "") + "\r\x1b[J")
        self._fresh = True
        self._append(rows[first:])


def _common(before: Sequence[Row], after: Sequence[Row]) -> int:
    count = 0
    for old, new in zip(before, after, strict=False):
        if old != new:
            break
        count += 1
    return count


def _grows(before: Row, after: Row) -> bool:
    return after.text.startswith(before.text)
