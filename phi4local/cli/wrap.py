"""Break streamed lines between words, so that a terminal does not break them inside words."""

from __future__ import annotations

import re

_PARTS = re.compile(r"\n|[^\S\n]+|\S+")


class WordWrap:
    r"""Turn streamed text into lines of at most `columns` cells, a word at a time.

    A word waits until its end has come; a word longer than a line is left to the terminal. White space at a
    break disappears, line feeds of the text stay.

    Example: with 10 columns, feeding "one two th", "ree" and finishing gives "one two\nthree".
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._column = 0
        self._space = ""
        self._word = ""

    def feed(self, text: str) -> str:
        """Take new text and return what can be shown."""
        parts = _PARTS.findall(self._word + text)
        self._word = parts.pop() if parts and not parts[-1][-1].isspace() else ""
        return "".join(map(self._place, parts))

    def finish(self) -> str:
        """Return the last word."""
        word, self._word = self._word, ""
        return self._place(word) if word else ""

    def _place(self, part: str) -> str:
        from rich.cells import cell_len

        if part == "\n":
            self._column, self._space = 0, ""
            return part
        if part.isspace():
            self._space += part  # shown with the next word: at the edge it would wrap the line by itself
            return ""
        width, space = cell_len(part), self._space
        self._space = ""
        if self._column > 0 and self._column + len(space) + width > self._columns:
            self._column = width
            return "\n" + part
        self._column += len(space) + width
        return space + part
