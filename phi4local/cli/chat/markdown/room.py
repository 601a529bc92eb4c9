"""How much of a reply may be open at once: what fits on the screen and is quickly redone."""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING

from phi4local.cli.chat.markdown.rows import cells
from phi4local.cli.chat.markdown.tables import Table

if TYPE_CHECKING:
    from phi4local.cli.chat.markdown.blocks import View
    from phi4local.cli.chat.markdown.reader import Reading

_BREAKS = re.compile(r"(?<=\S)\s(?=\S)")
_MARKS = re.compile(r"[\s>]*")


def is_full(reading: Reading, line: str, view: View) -> bool:
    """Tell whether the open block and the open line are more than may be redone.

    It is a bound that only grows with the line, so it does not depend on how the text came in pieces.
    """
    if reading.fence:
        return len(line) > view.budget * view.columns // 2
    line = line[: view.budget * view.width + 1]  # more is too much whatever it is, and would take time
    if isinstance(reading.block, Table):
        return _most_rows(line, view) > view.budget // 2
    before = reading.block.text if reading.block else ""
    return _most_rows(line, view) + (_most_rows(before, view) if before else 0) > view.budget


def _most_rows(text: str, view: View) -> int:
    """Return an upper bound of the rows of a text that is broken between words.

    A row ends where the next word does not fit: each row but the last is filled but for less than the longest
    word, and two rows together always hold more than one.
    """
    rows = 0
    for line in text.expandtabs(4).split("\n"):
        marks = _MARKS.match(line)
        indent = min(2 * (marks.end() if marks else 0) + 4, view.width * 5 // 8)
        longest = max(map(_size, line.split()), default=0)
        width = view.width - indent
        rows += 1 + _size(line) // max(width // 2, width - longest)
    return rows


def _size(text: str) -> int:
    return max(cells(text), len(text))  # marks without width count, too: they take time


def cut(line: str, view: View) -> int:
    """Return where a line that is too long is cut: after a word, if possible outside emphasis and code."""
    budget = view.budget
    some = line[: budget * view.width + 1]
    length = bisect.bisect_right(range(len(some)), budget, key=lambda end: _most_rows(some[:end], view))
    text = some[:length]
    places = [place for found in _BREAKS.finditer(text) if (place := found.start()) > len(text) // 4]
    for place in reversed(places[-100:]):
        if not (text.count("`", 0, place) % 2 or text.count("**", 0, place) % 2):
            return place
    return places[-1] if places else len(text)
