"""Pieces of a document that can stand alone in a prompt: sections, or paragraphs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phi4local.assistant.retrieval.documents import Document, Kind, Line


@dataclass(frozen=True, slots=True)
class Size:
    """How long passages are, in characters; four are about a token of English.

    Attributes:
        target: a passage ends before the paragraph that makes it longer.
        most: one paragraph may be as long as this.
        least: a section shorter than this goes on into the next one.
        overlap: a last paragraph up to this size begins the next passage of its section too.
    """

    target: int
    most: int
    least: int
    overlap: int = 200


SECTIONS = Size(target=3_000, most=4_000, least=1_000)
"""About 500 tokens in the middle; found more often than short ones, because more words stand together."""
PARAGRAPHS = Size(target=1_000, most=1_400, least=300)
"""At most 350 tokens, for a context that is nearly full."""

_HEADING = re.compile(r"(#{1,6})\s+(\S.*)")
_FENCE = re.compile(r"\s*(```|~~~)")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}\s*$")


@dataclass(frozen=True)
class Passage:
    """Consecutive lines of one document.

    Attributes:
        path: the file.
        name: its name in prompts and citations.
        lines: number and text of each line.
        page: the page of a PDF on which the numbers count, else None.
        headings: the titles above it, outermost first.
        score: how well it fits the question; higher is better, 0 before a search.
    """

    path: Path
    name: str
    lines: tuple[Line, ...]
    headings: tuple[str, ...] = ()
    score: float = 0.0

    @property
    def page(self) -> int | None:
        """The page of a PDF, else None."""
        return self.lines[0].page

    @property
    def first_line(self) -> int:
        """The number of the first line."""
        return self.lines[0].number

    @property
    def last_line(self) -> int:
        """The number of the last line."""
        return self.lines[-1].number

    @property
    def text(self) -> str:
        """The lines as they stand in the document."""
        return "\n".join(line.text for line in self.lines)

    @property
    def place(self) -> str:
        """Where it stands, as a citation says it: `notes.md:3-9`, or `paper.pdf:p3:1-20`."""
        page = "" if self.page is None else f"p{self.page}:"
        return f"{self.name}:{page}{self.first_line}-{self.last_line}"


@dataclass(frozen=True)
class _Block:
    """A paragraph, a fenced piece of code, or a heading with its underline."""

    lines: tuple[Line, ...]
    headings: tuple[str, ...]
    starts_section: bool = False

    @property
    def size(self) -> int:
        return sum(len(line.text) + 1 for line in self.lines)


def passages_of(document: Document, length: Size = SECTIONS) -> list[Passage]:
    """Split a document at its headings and paragraphs.

    No passage goes over the end of a file or a PDF's page. Where a section is split, the last paragraph of a
    passage, if short, begins the next one too.
    """
    found: list[Passage] = []
    current: list[_Block] = []
    for block in _small(_blocks(document.lines, document.kind), length):
        size = sum(part.size for part in current)
        new_page = current and block.lines[0].page != current[-1].lines[-1].page
        section = block.starts_section and size >= length.least
        if current and (new_page or section or size + block.size > length.target):
            found.append(_passage(document, current))
            last = current[-1]
            goes_on = not (new_page or block.starts_section or last.starts_section)
            current = [last] if goes_on and len(current) > 1 and last.size <= length.overlap else []
        current.append(block)
    if current:
        found.append(_passage(document, current))
    return found


def _passage(document: Document, blocks: list[_Block]) -> Passage:
    lines = [line for block in blocks for line in block.lines]
    while len(lines) > 1 and not lines[-1].text.strip():
        lines.pop()
    return Passage(document.path, document.name, tuple(lines), blocks[0].headings)


def _small(blocks: Iterator[_Block], length: Size) -> Iterator[_Block]:
    """Split what is longer than a passage may be."""
    for block in blocks:
        if block.size <= length.most:
            yield block
            continue
        lines: list[Line] = []
        size, first = 0, block.starts_section
        for line in block.lines:
            if lines and size + len(line.text) > length.target:
                yield _Block(tuple(lines), block.headings, first)
                lines, size, first = [], 0, False
            lines.append(line)
            size += len(line.text) + 1
        yield _Block(tuple(lines), block.headings, first)


def _blocks(lines: tuple[Line, ...], kind: Kind) -> Iterator[_Block]:
    titles = _titles(lines) if kind in ("markup", "html", "text") else {}
    headings: list[tuple[int, str]] = []
    block: list[Line] = []
    trail: tuple[str, ...] = ()
    starts, fence = False, ""
    for index, line in enumerate(lines):
        blank = not line.text.strip()
        new_page = bool(block) and line.page != block[-1].page
        if (
            block
            and not fence
            and (new_page or index in titles or (block[-1].text.strip() == "" and not blank))
        ):
            yield _Block(tuple(block), trail, starts)
            block, starts = [], False
        if index in titles and not fence:
            level, title = titles[index]
            headings = [*(above for above in headings if above[0] < level), (level, title)]
            trail, starts = tuple(text for _, text in headings), True
        if block or not blank:
            block.append(line)
        fence = _fence_after(line.text, fence)
    if block:
        yield _Block(tuple(block), trail, starts)


def _fence_after(text: str, fence: str) -> str:
    mark = _FENCE.match(text)
    if mark is None:
        return fence
    return "" if mark[1] == fence else fence or mark[1]


def _titles(lines: tuple[Line, ...]) -> dict[int, tuple[int, str]]:
    """Return level and text of headings by index: Markdown's `#`, and underlined ones of reStructuredText."""
    titles: dict[int, tuple[int, str]] = {}
    ranks: dict[str, int] = {}
    fence = ""
    for index, line in enumerate(lines):
        fence = _fence_after(line.text, fence)
        if fence:
            continue
        heading = _HEADING.match(line.text)
        if heading:
            titles[index] = len(heading[1]), heading[2].rstrip("# ")
        elif _underlined(lines, index):
            mark = lines[index + 1].text[0]
            titles[index] = ranks.setdefault(mark, len(ranks) + 1), line.text.strip()
    return titles


def _underlined(lines: tuple[Line, ...], index: int) -> bool:
    """Return whether the next line underlines this one."""
    text = lines[index].text.rstrip()
    if not text or text[0].isspace() or _UNDERLINE.match(text) or index + 1 >= len(lines):
        return False
    below = lines[index + 1].text.rstrip()
    above = lines[index - 1].text.strip() if index else ""
    return (
        bool(_UNDERLINE.match(below))
        and len(below) >= len(text)
        and (not above or bool(_UNDERLINE.match(above)))
    )
