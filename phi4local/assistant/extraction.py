"""Take out of an answer what a program needs: its first block of code, or its JSON."""

from __future__ import annotations

import itertools
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_BEGINNINGS = 1000
"""How many `{` and `[` of a text are tried, so that a text of nothing else takes no time."""
_OPENING = re.compile(r"(?P<indent> {0,3})(?P<fence>`{3,}(?=[^`]*$)|~{3,})")


def code_blocks(text: str) -> Iterator[str]:
    r"""Yield what stands between fences, in order, without the fences; the last one may lack its end.

    Fences are those of CommonMark: three or more backticks or tildes, indented by three spaces at most, and
    closed by at least as many of the same. Blocks inside of quotes and lists are not looked for.

    Source: https://spec.commonmark.org/0.31.2/#fenced-code-blocks

    Example: `next(code_blocks("Here:\n```python\nprint(1)\n```\nDone."))` is `"print(1)\n"`.
    """
    lines = iter(re.split(r"\r\n|\n|\r", text))
    for line in lines:
        opening = _OPENING.match(line)
        if opening is None:
            continue
        fence, indent = opening["fence"], len(opening["indent"])
        closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}}[ \t]*")
        inside, end = [], ""
        for inner in lines:
            if closing.fullmatch(inner):
                end = "\n"
                break
            inside.append(re.sub(rf"^ {{0,{indent}}}", "", inner))
        yield "\n".join(inside) + (end if inside else "")


def first_code(text: str) -> str | None:
    """Return the first block of code without its fences and last line end, or `None`."""
    block = next(code_blocks(text), None)
    return None if block is None else block.removesuffix("\n")


def first_json(text: str) -> str | None:
    """Return the first JSON of an answer as it is written there, or `None`.

    The whole answer, if it is JSON; else the first fenced block that is; else the first object or list
    anywhere in the text.

    Example: `first_json('Sure: {"age": 7}.')` is `'{"age": 7}'`.
    """
    for candidate in (text, *code_blocks(text)):
        if _is_json(candidate):
            return candidate.strip()
    for beginning in itertools.islice(re.finditer(r"[{\[]", text), MOST_BEGINNINGS):
        try:
            _, end = _DECODER.raw_decode(text, beginning.start())
        except (ValueError, RecursionError):
            continue
        return text[beginning.start() : end]
    return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_int=str, parse_float=str)


def _is_json(text: str) -> bool:
    try:
        _, end = _DECODER.raw_decode(text.strip())
    except (ValueError, RecursionError):
        return False
    return end == len(text.strip())
