"""Markdown shown while it comes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.cli.chat.markdown.blocks import Paragraph, View
from phi4local.cli.chat.markdown.live import LiveRows
from phi4local.cli.chat.markdown.reader import Drawable, Reading, read
from phi4local.cli.chat.markdown.room import cut, is_full
from phi4local.cli.chat.markdown.tables import Table
from phi4local.cli.text import VisibleStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.cli.chat.markdown.rows import Row


class MarkdownStream:
    r"""A reply in markdown as what to write to a terminal, piece by piece.

    Each character is on the screen as soon as it has come. Rows are rewritten in place while their block is
    open, which is never more than fits on the screen, so nothing is left twice in the scroll-back, and work
    does not grow with the reply. However the text is divided into pieces, the screen at the end is the same.

    Args:
        columns: asks for the terminal's width, before each piece: it may change.
        colour: whether styles are shown; without them the marks of emphasis, headings and lists stay.
        rows: asks for the terminal's height.

    Example: `feed("a **b")`, `feed("** c\n")` and `finish()` write "a ", "b" in bold and " c".
    """

    def __init__(
        self,
        *,
        columns: Callable[[], int],
        colour: bool,
        rows: Callable[[], int] = lambda: 24,
    ) -> None:
        self._ask: Callable[[], View] = lambda: View(max(1, columns()), max(1, rows()), colour)
        self._view = self._ask()
        self._visible = VisibleStream()
        self._live = LiveRows()
        self._reading, self._line = Reading(), ""
        self._middle = False  # the line's beginning was written for good: the rest is more of the same
        self._raw = False  # the rest of the line is written as it comes, because the row cannot be rewritten

    def feed(self, delta: str) -> str:
        """Take new text and return what to write to the terminal now."""
        text = self._visible.feed(delta)
        steady = self._follow_size()
        if self._raw and steady and not self._reading.fence:
            text = self._leave_raw(text)
        first, *others = text.split("\n")
        self._extend(first)
        for piece in others:
            self._end_line()
            self._extend(piece)
        self._show()
        return self._live.take()

    def finish(self) -> str:
        """Return what ends the reply; the cursor stays behind its last character."""
        self._extend(self._visible.finish())
        self._end_line()
        self._settle(self._reading.blocks())
        self._reading = Reading()
        return self._live.take()

    def _extend(self, piece: str) -> None:
        if self._raw:
            self._live.write(piece)
            return
        self._line += piece
        while not self._raw and is_full(self._reading, self._line, self._view):
            self._make_room()

    def _make_room(self) -> None:
        """Write a part of what is open for good."""
        reading = self._reading
        if reading.fence:
            if reading.fence.inside(self._line) is None:
                self._reading = replace(reading, fence=None)
            else:
                self._show()
                self._raw = True
        elif not self._middle and any(block.rows(self._view) for block in reading.blocks()):
            self._settle(reading.blocks())
            self._reading = reading.rest()
        else:
            self._cut_line()

    def _cut_line(self) -> None:
        place = cut(self._line, self._view)
        text, self._line = self._line[:place], self._line[place:]
        finished, reading = self._read(text, whole=True)
        if isinstance(reading.block, Paragraph):
            rows = self._settle([*finished, reading.block], but_last=True)
            self._reading = replace(reading, block=reading.block.rest(rows[-1] if rows else None))
        else:
            self._settle([*finished, *reading.blocks()])
            self._reading = replace(reading, block=None)
        self._middle = True

    def _read(self, line: str, *, whole: bool) -> tuple[list[Drawable], Reading]:
        if self._middle:
            return [], self._reading.continued(line)
        return read(self._reading, line, self._view, whole=whole)

    def _end_line(self) -> None:
        line, self._line = self._line, ""
        if not self._raw:
            finished, self._reading = self._read(line, whole=True)
            if finished:
                self._settle(finished)
        self._raw = self._middle = False
        block, view = self._reading.block, self._view
        if isinstance(block, Table) and len(block.rows(view)) > view.budget // 2:
            self._settle([block])
            self._reading = replace(self._reading, block=block.frozen(view))
        elif block and self._reading.fence:  # a fence's first line that was too long
            self._settle([block])
            self._reading = replace(self._reading, block=None)

    def _show(self) -> None:
        """Draw what is open, as if the line ended here."""
        if self._raw:
            return
        blocks = self._reading.blocks()
        if self._line:
            finished, after = self._read(self._line, whole=False)
            blocks = finished + after.blocks()
        self._live.show(_drawn(self._view, blocks), self._view.columns)

    def _settle(self, blocks: list[Drawable], *, but_last: bool = False) -> list[Row]:
        """Write blocks for good, perhaps but for their last row, and return their rows."""
        rows = _drawn(self._view, blocks)
        self._live.show(rows, self._view.columns)
        self._live.keep(max(0, len(rows) - 1) if but_last else None)
        return rows

    def _follow_size(self) -> bool:
        """Look at the terminal's size and tell whether its width is as before.

        Terminals move the rows on the screen differently when they become narrower. What is open is then
        left as it stands, and the rest of the line follows behind it.
        """
        before, self._view = self._view, self._ask()
        if self._view.columns == before.columns:
            return True
        if self._view.columns < before.columns or not self._live.certain:
            self._live.keep()
            if self._line and not self._raw:
                self._raw = True
                if not self._reading.fence:
                    self._reading = self._read(self._line, whole=True)[1]
            self._reading = self._reading.rest()
        return False

    def _leave_raw(self, text: str) -> str:
        """Return the part of `text` that is drawn again: from the next word on."""
        found = re.search(r"\s", text)
        if not found or found[0] == "\n":
            return text
        self._live.write(text[: found.start()])
        self._raw, self._middle, self._line = False, True, ""
        return text[found.end() :]


def _drawn(view: View, blocks: list[Drawable]) -> list[Row]:
    return [row for block in blocks for row in block.rows(view)]
