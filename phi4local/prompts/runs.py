"""Cut a rendered prompt into control tokens and plain runs.

Plain text of the template that stands directly beside a message has to be tokenized together with it: in
`<|system|>You are Phi. ` + message, transformers tokenizes `You are Phi. …` in one go. So a prompt is not cut
between template and message but at the control tokens of the template:

    template     <|im_end|><|im_start|>user<|im_sep|>Question:␠      Why?      <|im_end|>
    segments    [<|im_end|><|im_start|>user<|im_sep|>] [Question:␠Why?] [<|im_end|>]
                 special                                plain             special

A special segment begins and ends with a control token. Template text between two of them stays inside it, as
does a message of nothing but white space. That is safe: a typed token can only be in a plain run, and there
no control token is recognised.

Which strings are control tokens? The vocabulary knows; without it the shape has to do: `<…>` without white
space (`<|im_start|>`, `<think>`, `<s>`), `[NAME]` (`[INST]`), and the template's own bos and eos.
Template text that only looks like one (`<b>`) moves a cut, which can change ids beside it, never the safety.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What `\\s` matches in Rust: Unicode's White_Space. Python's `strip` also takes \\x1c to \\x1f."""

_SHAPES = (r"<[^<>\s]{1,64}>", r"\[/?[A-Za-z_]{2,32}\]")


class Piece(NamedTuple):
    """A part of a rendered prompt: the template's (`message` is `None`), or what a message says."""

    text: str
    message: int | None


@dataclass(frozen=True, slots=True)
class Run:
    """Text that is tokenized in one go, and the messages that are in it."""

    text: str
    special: bool
    messages: tuple[int, ...] = ()


def token_pattern(token_strings: Collection[str] | None, *, also: tuple[str, ...] = ()) -> re.Pattern[str]:
    """Return a pattern for the control tokens in template text, as its only group.

    Example: `token_pattern(None).findall("<think> a <|im_end|>")` is `["<think>", "<|im_end|>"]`.
    """
    return _pattern(None if token_strings is None else frozenset(token_strings), also)


@functools.lru_cache(maxsize=16)
def _pattern(token_strings: frozenset[str] | None, also: tuple[str, ...]) -> re.Pattern[str]:
    known = sorted({*(token_strings or ()), *also} - {""}, key=lambda s: (-len(s), s))
    shapes = _SHAPES if token_strings is None else ()
    return re.compile(f"({'|'.join((*map(re.escape, known), *shapes)) or '(?!)'})")


def lay_out(pieces: Iterable[Piece], tokens: re.Pattern[str], *, strip_whitespace: bool) -> list[Run]:
    """Return the pieces as runs, special and plain ones in turn, none of them empty.

    Example: `<|user|>`, `Hi` (message 0) and `<|end|>` stay three runs; `A: `, `Hi` (message 0) and `<|end|>`
    are two, because `A: Hi` belongs together. With `strip_whitespace`, white space beside a special run is
    left out, and that between two control tokens.
    """
    runs = _merged(_parts(pieces, tokens))
    return _merged(_stripped(runs, tokens)) if strip_whitespace else runs


def _parts(pieces: Iterable[Piece], tokens: re.Pattern[str]) -> Iterator[Run]:
    for text, message in pieces:
        if message is not None:
            yield Run(text, special=False, messages=(message,))
            continue
        first = last = len(text)
        for match in tokens.finditer(text):
            first, last = min(first, match.start()), match.end()
        yield Run(text[:first], special=False)
        yield Run(text[first:last], special=True)
        yield Run(text[last:], special=False)


def _merged(runs: Iterable[Run]) -> list[Run]:
    merged: list[Run] = []
    for run in runs:
        if not run.text:
            continue
        if merged and merged[-1].special == run.special:
            before = merged.pop()
            merged.append(Run(before.text + run.text, run.special, before.messages + run.messages))
        else:
            merged.append(run)
    return merged


def _stripped(runs: Sequence[Run], tokens: re.Pattern[str]) -> Iterator[Run]:
    for position, run in enumerate(runs):
        text = run.text
        if run.special:
            between = tokens.split(text)
            between[::2] = [part.strip(WHITE_SPACE) for part in between[::2]]
            text = "".join(between)
        else:
            text = text.lstrip(WHITE_SPACE) if position > 0 else text
            text = text.rstrip(WHITE_SPACE) if position < len(runs) - 1 else text
        yield Run(text, run.special, run.messages)
