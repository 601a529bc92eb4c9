"""Markdown inside a paragraph: emphasis, code, links and formulas as styled spans."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from phi4local.cli.chat.markdown.rows import Span
from phi4local.cli.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

CODE = "cyan"
QUIET = "dim"
_STYLES = {"strong": "bold", "em": "italic", "s": "strike"}
_FORMULA = re.compile(r"\\\(.+?\\\)|\\\[.+?\\\]|\$\$.+?\$\$", re.DOTALL)
# A plain text has none of these: most words of a reply need no parser.
_MARKS = re.compile(r"[\\`*_~\[\]<&!$]")


@functools.lru_cache(maxsize=256)  # the cells of a table are drawn again with each of its rows
def spans(text: str, style: str = "", *, colour: bool) -> tuple[Span, ...]:
    """Return `text` as styled spans; the marks disappear, and a link's address follows its text.

    Without colours the marks of emphasis and code stay, because nothing else would show them.

    Example: `spans("a **b**", colour=True)` is `(Span("a ", ""), Span("b", "bold"))`.
    """
    if not _MARKS.search(text):
        return (Span(text, style if colour else ""),)
    tokens = _parser().parseInline(text)[0].children or []
    # An entity such as &#x202e; is a control character only now.
    pieces = _Styled(colour).walk(tokens, style)
    return tuple(
        Span(visible(part, keep_lines=True), look if colour else "") for part, look in pieces if part
    )


def completed(text: str) -> str:
    """Return `text` with the emphasis and code closed that is still open.

    Example: `completed("see **this")` is `"see **this**"`, so that no stars flash up while a reply comes.
    """
    for mark in ("`", "**"):
        before, found, inside = text.rpartition(mark)
        if found and text.count(mark) % 2 and inside[:1].strip() and not before.endswith(mark):
            return text + mark
    return text


@functools.cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("strikethrough")
    parser.inline.ruler.before("escape", "formula", _formula)
    return parser


def _formula(state: StateInline, silent: bool) -> bool:
    r"""Keep `\(x_1\)` as it is: markdown would take the backslashes away."""
    if state.src[state.pos] not in "\\$" or not (found := _FORMULA.match(state.src, state.pos)):
        return False
    if not silent:
        state.push("formula", "", 0).content = found[0]
    state.pos = found.end()
    return True


class _Styled:
    """Tokens of markdown-it to pieces of text with a style."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def walk(self, tokens: Sequence[Token], style: str) -> Iterator[tuple[str, str]]:
        styles, links = [style], list[str]()
        for index, token in enumerate(tokens):
            name, _, edge = token.type.rpartition("_")
            if edge == "open":
                added = _STYLES.get(name, "")
                styles.append(f"{styles[-1]} {added}".strip())
                address = str(token.attrs.get("href", ""))
                links.append("" if tokens[index + 1].content == address else address)
                yield self._mark(token), styles[-1]
            elif edge == "close":
                yield self._mark(token), styles.pop()
                yield from self._address(links.pop())
            else:
                yield from self._piece(token, styles[-1])

    def _piece(self, token: Token, style: str) -> Iterator[tuple[str, str]]:
        if token.type in ("softbreak", "hardbreak"):
            yield "\n", ""
        elif token.type == "code_inline":
            mark = "" if self._colour else token.markup
            yield f"{mark}{token.content}{mark}", f"{style} {CODE}".strip()
        elif token.type == "image":
            yield token.content or "image", style
            yield from self._address(str(token.attrs.get("src", "")))
        else:
            yield token.content, style

    def _mark(self, token: Token) -> str:
        return "" if self._colour or token.type.startswith("link") else token.markup

    @staticmethod
    def _address(address: str) -> Iterator[tuple[str, str]]:
        if address:
            yield " (", ""
            yield address, QUIET
            yield ")", ""
