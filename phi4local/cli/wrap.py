"""Break streamed lines between words, so that a terminal does not break them inside words."""

from __future__ import annotations

import re

_WIDE = (
    "\u2e80-\u3029\u3030-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf"
    "\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff"
)
"""Chinese and Japanese, which put no spaces between words: a line may end before each of them."""
_OPENING = "\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\uff08\uff3b\uff5b"
"""Brackets that stay with what follows."""
_CLOSING = (
    r"\u3001\u3002\u3005\u3009\u300b\u300d\u300f\u3011\u3015\u3017\u3019\u303b\u3041\u3043\u3045\u3047\u3049\u3063"
    r"\u3083\u3085\u3087\u3099-\u309e\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30fb-\u30fe\uff01\uff09"
    r"\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d\u2019\u201d\u2026\ufe00-\ufe0f\U000e0100-\U000e01ef!),.:;?\]}"
)
"""What no line begins with: closing marks, small kana, the variant of the character before."""
_PARTS = re.compile(rf"\n|[^\S\n]+|[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}]+)[{_CLOSING}]*")


class WordWrap:
    r"""Turn streamed text into lines of at most `columns` cells, a word at a time.

    A word waits until its end has come; a word longer than a line is left to the terminal. White space at a
    break disappears, line feeds of the text stay. A Chinese or Japanese character is a word of its own, with
    the closing marks behind it.

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
