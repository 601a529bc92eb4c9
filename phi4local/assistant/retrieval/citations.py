"""Citations in an answer, and whether what they point at was really given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.assistant.retrieval.passages import Passage

_BRACKET = re.compile(r"\[([^\[\]\n]{3,400})\]")
_PLACE = re.compile(
    r"(?P<name>\S(?:.*?\S)?)(?:[:,]\s*p(?:age)?\.?\s*(?P<page>\d{1,7}))?"
    r"(?:[:,]\s*(?:lines?\s*)?(?P<first>\d{1,9})(?:\s*[-–]\s*(?P<last>\d{1,9}))?)?\s*"  # noqa: RUF001 - models write it
)


@dataclass(frozen=True)
class Citation:
    """A place that an answer names.

    Attributes:
        path: the file as the answer writes it, or its full name if it was given.
        first: the first line; None for a PDF's page as a whole.
        last: the last line.
        found: whether every one of these lines stood in the passages that the model got.
        page: the page of a PDF.
    """

    path: str
    first: int | None
    last: int | None
    found: bool
    page: int | None = None


def cited(answer: str, passages: Sequence[Passage]) -> list[Citation]:
    """Return the citations of an answer in their order; a repeated one once.

    `[notes.md:3-9]`, `[notes.md:3]`, `[paper.pdf:p2:1-4]` and `[paper.pdf, page 2]` are citations, several in
    one bracket with `;` between them too. The end of a path will do where it means one file.

    Example: with lines 1 to 20 of `docs/notes.md` given, `cited("It rains [notes.md:3-9].", passages)` is
    `[Citation(path="docs/notes.md", first=3, last=9, found=True, page=None)]`.
    """
    found: dict[Citation, None] = {}
    for bracket in _BRACKET.finditer(answer):
        for part in bracket[1].split(";"):
            place = _PLACE.fullmatch(part.strip())
            if place and (place["first"] or place["page"]):
                found[_citation(place, passages)] = None
    return list(found)


def _citation(place: re.Match[str], passages: Sequence[Passage]) -> Citation:
    written = place["name"].strip("`")
    ends = "/" + written.replace("\\", "/").removeprefix("./")
    names = {passage.name for passage in passages if ("/" + passage.name).endswith(ends)}
    name = written if written in names or len(names) != 1 else names.pop()
    page = int(place["page"]) if place["page"] else None
    first = int(place["first"]) if place["first"] else None
    last = int(place["last"]) if place["last"] else first
    given = {
        line.number
        for passage in passages
        if passage.name == name
        for line in passage.lines
        if line.page == page
    }
    if first is None or last is None:
        return Citation(name, None, None, bool(given), page)
    inside = 1 <= first <= last and last - first < len(given) and given.issuperset(range(first, last + 1))
    return Citation(name, first, last, inside, page)
