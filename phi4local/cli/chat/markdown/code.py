"""Code blocks: where one ends, and its lines in colours."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len

from phi4local.cli.chat.markdown.blocks import Line, Verbatim, View
from phi4local.cli.chat.markdown.rows import Span, cells

if TYPE_CHECKING:
    from pygments.lexer import Lexer

LOOK_BACK = 800
"""Characters of the block that are read again for the colours of its next line, so that work does not
grow."""

_COLOURS = {
    "Comment": "dim italic",
    "Keyword": "magenta",
    "Literal.Number": "cyan",
    "Literal.String": "green",
    "Name.Builtin": "cyan",
    "Name.Class": "bold",
    "Name.Decorator": "yellow",
    "Name.Function": "blue",
    "Name.Tag": "magenta",
    "Operator.Word": "magenta",
}


@dataclass(frozen=True)
class Fence:
    """An open code block, with the lines that the next one's colours depend on."""

    mark: str
    language: str = ""
    quotes: int = 0
    indent: int = 0
    before: str = ""

    @classmethod
    def opened(cls, line: Line) -> Fence:
        """Return the block that a line opens."""
        return cls(line.mark, line.text.lower(), line.quotes, line.indent)

    def inside(self, source: str) -> str | None:
        """Return a line without the marks of the quote around it, `None` if the quote has ended."""
        for _ in range(self.quotes):
            if not (found := re.match(r" {0,3}> ?", source)):
                return None
            source = source[found.end() :]
        spaces = len(source) - len(source.lstrip(" "))
        return source[min(spaces, self.indent) :]

    def closes(self, text: str) -> bool:
        """Tell whether a line ends the block."""
        mark = text.strip()
        return len(mark) >= len(self.mark) and set(mark) == {self.mark[0]}

    def coloured(self, text: str, view: View) -> Verbatim:
        """Return a whole line of the block.

        A line that terminals may break at different places stays as it was shown while it came.
        """
        narrow = text.isascii() or cell_len(text) == len(text)
        known = cells(text) <= view.columns or (narrow and "\t" not in text)
        lexer = _lexer(self.language) if view.colour and known and len(text) <= LOOK_BACK else None
        return Verbatim(_highlight(lexer, self.before, text) if lexer else (Span(text),))

    def after(self, text: str) -> Fence:
        """Return the block with one more line."""
        before = f"{self.before}{text}\n"
        if len(before) > LOOK_BACK:  # a line without indent is the best place to begin in the middle
            start = re.compile(r"\n(?=\S)").search(before, len(before) // 2)
            before = before[start.end() if start else len(before) // 2 :][-LOOK_BACK:]
        return replace(self, before=before)


@functools.lru_cache(maxsize=64)
def _lexer(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language)
    except ClassNotFound:
        return None


def _highlight(lexer: Lexer, before: str, text: str) -> tuple[Span, ...]:
    found = []
    for start, kind, value in lexer.get_tokens_unprocessed(f"{before}{text}\n"):
        part = value[max(0, len(before) - start) :].rstrip("\n")
        if start + len(value) > len(before) and part:
            found.append(Span(part, _colour(str(kind))))
    # A lexer that loses or changes text must not change what is copied.
    return tuple(found) if "".join(span.text for span in found) == text else (Span(text),)


@functools.lru_cache(maxsize=512)
def _colour(kind: str) -> str:
    name = kind.removeprefix("Token.")
    while name and name not in _COLOURS:
        name = name.rpartition(".")[0]
    return _COLOURS.get(name, "")
