"""Markdown read line by line: which blocks a line ends, and which one it opens."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from phi4local.cli.chat.markdown.blocks import (
    Gap,
    Line,
    Nesting,
    Paragraph,
    Rule,
    Verbatim,
    View,
    paragraph,
    read_line,
)
from phi4local.cli.chat.markdown.code import Fence
from phi4local.cli.chat.markdown.inline import QUIET
from phi4local.cli.chat.markdown.rows import Row, Span
from phi4local.cli.chat.markdown.tables import Table, is_delimiter


class Drawable(Protocol):
    """Something that becomes rows."""

    def rows(self, view: View) -> list[Row]:
        """Draw."""
        ...


@dataclass(frozen=True)
class Reading:
    """What is open between two lines: a value, so that a line which still comes can be tried."""

    block: Paragraph | Table | None = None
    fence: Fence | None = None
    nesting: Nesting = field(default_factory=Nesting)
    blank: bool = False
    begun: bool = False

    def blocks(self) -> list[Drawable]:
        """Return what may still change."""
        return [self.block] if self.block else []

    def continued(self, text: str) -> Reading:
        """Return this with more text of a line whose beginning was written for good."""
        block = self.block if isinstance(self.block, Paragraph) else Paragraph("", joins=False)
        return replace(self, block=block.joined(text, between=""))

    def rest(self) -> Reading:
        """Return this after everything in it was written for good."""
        return replace(self, block=self.block.rest() if isinstance(self.block, Paragraph) else None)


def read(before: Reading, source: str, view: View, *, whole: bool) -> tuple[list[Drawable], Reading]:
    """Take a line and return the finished blocks and what is open after it.

    Args:
        before: what is open.
        source: the line, without its line feed.
        view: the terminal.
        whole: whether the line has ended; if not, what it has so far is drawn and forgotten.
    """
    if before.fence:
        return _in_fence(before, before.fence, source, view, whole=whole)
    line = _certain(read_line(source), source, whole=whole)
    if line.kind == "blank":
        return before.blocks(), replace(before, block=None, blank=before.begun)
    if line.kind == "text" and before.block and (more := _more(before, line, whole=whole)):
        return more
    finished: list[Drawable] = [*before.blocks(), *([Gap()] if before.blank else [])]
    opened, after = _begin(replace(before, block=None, blank=False, begun=True), line, source, view)
    if isinstance(after.block, Paragraph):
        after = replace(after, block=replace(after.block, open=not whole))
    return finished + opened, after


def _more(before: Reading, line: Line, *, whole: bool) -> tuple[list[Drawable], Reading] | None:
    """Return what a line of text makes of the open block, or `None` where it begins another one."""
    if isinstance(before.block, Table):
        if "|" in line.text and whole:
            return [], replace(before, block=before.block.with_row(line.text))
    elif before.block:
        if table := _table(before.block, line):
            above, block = table
            return above, replace(before, block=block)
        if before.block.joins and line.quotes in (0, before.block.quotes):
            return [], replace(before, block=replace(before.block.joined(line.text), open=not whole))
    return None


def _certain(line: Line, source: str, *, whole: bool) -> Line:
    """Return a mark whose text has not come yet as text, so that its first character is on the screen."""
    if whole or line.text or line.kind == "fence" or not source.strip():
        return line
    return Line("text", source.strip(), indent=line.indent)


def _table(block: Paragraph, line: Line) -> tuple[list[Drawable], Table] | None:
    above, _, header = block.text.rpartition("\n")
    if not block.joins or not is_delimiter(line.text, header):
        return None
    if above:
        return [replace(block, text=above)], Table.begun(header, line.text, block.hang)
    return [], Table.begun(header, line.text, block.lead)


def _begin(before: Reading, line: Line, source: str, view: View) -> tuple[list[Drawable], Reading]:
    """Open the block that a line begins."""
    nesting = before.nesting.item(line.indent) if line.kind == "item" else before.nesting.text(line.indent)
    if line.kind == "text" and line.indent >= 4 and not nesting.indents and not line.quotes:
        return [Verbatim((Span(source.removeprefix("    ")),))], replace(before, nesting=nesting)
    if line.kind == "fence":
        return [_fence_row(source.strip())], replace(before, nesting=nesting, fence=Fence.opened(line))
    if line.kind == "rule":
        plain = paragraph(Line("text", "", line.quotes), Nesting(), view)
        return [Rule(line.text, plain.hang)], replace(before, nesting=nesting)
    return [], replace(before, nesting=nesting, block=paragraph(line, nesting, view))


def _fence_row(text: str) -> Verbatim:
    return Verbatim((Span(text, QUIET),))


def _in_fence(
    before: Reading, fence: Fence, source: str, view: View, *, whole: bool
) -> tuple[list[Drawable], Reading]:
    text = fence.inside(source)
    if text is None:
        return read(replace(before, fence=None), source, view, whole=whole)
    if not whole:
        return [Verbatim((Span(text),))], before
    if fence.closes(text):
        return [_fence_row(text.strip())], replace(before, fence=None)
    return [fence.coloured(text, view)], replace(before, fence=fence.after(text))
