"""The parts that a prompt is made of, and the cut that keeps typed text from becoming a control token."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class TextSegment:
    """A piece of prompt text and how it is tokenized.

    Attributes:
        text: the text.
        special: `True`: the template wrote it, control tokens in it count. `False`: a person, a file or a
            tool wrote it (alone, or joined with plain template text beside it): it is plain text throughout.

    Example: `TextSegment("<|im_start|>user<|im_sep|>", special=True)`, `TextSegment("Hi", special=False)`.
    """

    text: str
    special: bool


@dataclass(frozen=True, slots=True)
class TokenSegment:
    """Token ids that are already known, such as those of an earlier answer.

    Tokenizing the answer's text again can give other ids, and then the model's cached work is lost.

    Example: `TokenSegment((40, 397, 1082))`.
    """

    token_ids: tuple[int, ...]


Segment = TextSegment | TokenSegment


def break_up(text: str, token_strings: Collection[str]) -> list[str]:
    """Split plain text so that no piece contains the string of a token, and the pieces join to the text.

    llama.cpp recognises USER_DEFINED tokens even where special tokens are off; only a cut inside each
    occurrence keeps a typed `</think>` plain text. There are as few cuts as possible.

    A string of one character cannot be cut: such strings, and empty ones, are ignored.

    Args:
        text: what a person, a file or a tool wrote.
        token_strings: texts of the tokens that must not appear; they may overlap or contain each other.

    Cost: length of the text times, at worst, the number of strings.

    Example: `break_up("a</think>b", ["</think>"])` is `["a</think", ">b"]`; `break_up("", ...)` is `[]`.

    Source: llama.cpp, `llama_vocab::impl::tokenizer_st_partition` skips CONTROL and UNKNOWN tokens only.
    """
    pattern = _occurrences(frozenset(token_strings))
    pieces: list[str] = []
    start = 0
    while match := pattern.search(text, start) if pattern else None:
        pieces.append(text[start : match.end() - 1])
        start = match.end() - 1
    pieces.append(text[start:])
    return [piece for piece in pieces if piece]


@functools.lru_cache(maxsize=16)
def _occurrences(token_strings: frozenset[str]) -> re.Pattern[str] | None:
    """Return a pattern for the strings, without those that contain another: cutting the inner one cuts them.

    What is left cannot nest, so the occurrence that begins first also ends first. That makes the cut before
    its last character the best one, and lets the search go on from there.
    """
    kept: list[str] = []
    for candidate in sorted((s for s in token_strings if len(s) > 1), key=lambda s: (len(s), s)):
        if not any(shorter in candidate for shorter in kept):
            kept.append(candidate)
    return re.compile("|".join(map(re.escape, sorted(kept)))) if kept else None
