"""Lists of words and phrases, found as whole words through the usual disguises."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.assistant.guard.finding import Action, Finding
from phi4local.assistant.guard.folded import fold

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from phi4local.assistant.guard.folded import Folded

MOST_GAP = 8
"""Characters that may stand between two words of a phrase."""
_ONE_EACH = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003134f"
"""Scripts without spaces between words: each character counts as a word."""
_PLAIN = re.compile(rf"[{_ONE_EACH}]|[^\W_{_ONE_EACH}]+")
_WITH_SYMBOLS = re.compile(rf"[{_ONE_EACH}]|(?:[^\W_{_ONE_EACH}]|[@$€!|])+")
_LINKS = "-_.·*~"
_STANDS_FOR = dict(zip("01345789@$€!|", ("o", "il", *"eastbgasei", "il"), strict=True))
_SYMBOLS = "@$€!|"
_MOST_READINGS = 64
_LONGEST_DISGUISED = 200
_END = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a folded text, and where it stands there."""

    text: str
    start: int
    end: int


class WordList:
    """Whole words and phrases, whatever their case, accents, width, look-alikes and invisible characters.

    `b0mb` and `$hit` are read as letters, unless digits are in the majority; `b.o.m.b`, `b o m b` and
    `bo-mb` as one word; `boooomb` as `bomb`. Words of a phrase may have up to `MOST_GAP` other characters
    between them.

    Example: with `words=("cunt",)`, `WordList` finds "C\u200bUNT" and not "Scunthorpe".
    """

    def __init__(
        self, name: str, words: Iterable[str], *, category: str = "", action: Action = "block"
    ) -> None:
        self.name = name
        self._category, self._action = category or name, action
        self._phrases: dict[str, Any] = {}
        self._longest = 0
        for phrase in words:
            node = self._phrases
            for word in _PLAIN.findall(fold(phrase).text):
                node = node.setdefault(word, {})
                self._longest = max(self._longest, len(word))
            if node is not self._phrases:
                node[_END] = {}

    def find(self, folded: Folded) -> list[Finding]:
        """Return the words and phrases of the list."""
        found: set[tuple[int, int]] = set()
        for words in _ways_to_read(folded.text):
            for first in range(len(words)):
                end, _ = self._walk(words, first, len(folded.text))
                if end is not None:
                    found.add((words[first].start, end))
        for chain in _chains(folded.text):
            for part in (chain, chain[1:]):
                if self._is_spelled(part) and (part is chain or chain[0].text in ("a", "i")):
                    found.add((part[0].start, part[-1].end))
        places = sorted(
            folded.original(*span) for span in found if not _adds_symbols(span, found, folded.text)
        )
        return [
            Finding(rule=self.name, category=self._category, action=self._action, start=start, end=end)
            for start, end in places
        ]

    def open_from(self, folded: Folded) -> int:
        """Return where the first word begins that more text could make part of a finding."""
        text, first_open = folded.text, len(folded.text)
        for words in _ways_to_read(text):
            for first, word in enumerate(words):
                if word.start < first_open and self._walk(words, first, len(text))[1]:
                    first_open = word.start
        for chain in _chains(text):
            could_go_on = _can_link(text, chain[-1])
            if could_go_on and self._is_short(_joined(chain), 1):
                first_open = min(first_open, chain[0].start)
        return folded.places[first_open]

    def _walk(self, words: Sequence[Word], first: int, length: int) -> tuple[int | None, bool]:
        """Return where the longest phrase that begins at `first` ends, and whether more text matters."""
        nodes, end, before = [self._phrases], None, words[first].start
        for place in range(first, len(words)):  # a slice would copy the rest of the text for each word
            word = words[place]
            if word.start - before > MOST_GAP:
                return end, False
            could_grow = word.end == length and self._is_short(word.text.strip(_SYMBOLS))
            nodes = _next(nodes, word)
            if any(_END in node for node in nodes):
                end = word.end
            if could_grow or not nodes:
                return end, could_grow
            before = word.end
        goes_on = any(node.keys() - {_END} for node in nodes)
        return end, goes_on and length - before <= MOST_GAP

    def _is_short(self, text: str, more: int = 0) -> bool:
        return len(_squeezed(text)) <= self._longest + more

    def _is_spelled(self, chain: Sequence[Word]) -> bool:
        whole = _joined(chain)
        return self._is_short(whole) and any(
            _END in self._phrases.get(reading, {}) for reading in readings(whole)
        )


def _next(nodes: list[dict[str, Any]], word: Word) -> list[dict[str, Any]]:
    return [node[reading] for node in nodes for reading in readings(word.text) if reading in node]


def _ways_to_read(text: str) -> list[list[Word]]:
    """Return the words of a text, with symbols between words and, if there are any, as parts of them."""
    plain = [Word(found[0], found.start(), found.end()) for found in _PLAIN.finditer(text)]
    if not any(symbol in text for symbol in _SYMBOLS):
        return [plain]
    # "$h!t!" is "$h!t" and the end of a shout.
    calm = [Word(w.text.rstrip("!"), w.start, w.start + len(w.text.rstrip("!"))) for w in _with_symbols(text)]
    return [plain, [word for word in calm if word.text], _with_symbols(text)]


def _with_symbols(text: str) -> list[Word]:
    return [Word(found[0], found.start(), found.end()) for found in _WITH_SYMBOLS.finditer(text)]


def _chains(text: str) -> list[list[Word]]:
    """Return the words that could be one, spelled with something between its parts; most in length."""
    chains: list[list[Word]] = []
    for found in _PLAIN.finditer(text):
        word = Word(found[0], found.start(), found.end())
        if chains and _is_link(text[chains[-1][-1].end : word.start], chains[-1][-1], word):
            chains[-1].append(word)
        else:
            chains.append([word])
    return [chain for chain in chains if len(chain) > 1 or _can_link(text, chain[-1])]


def _is_link(gap: str, before: Word, after: Word) -> bool:
    if len(before.text) == len(after.text) == 1:
        return 1 <= len(gap) <= 2
    return len(gap) == 1 and gap in _LINKS


def _can_link(text: str, last: Word) -> bool:
    """Return whether what follows the last word, up to the end of the text, could become a link."""
    if len(text) - last.end > 2:
        return False
    rest = text[last.end :]
    return len(last.text) == 1 or rest == "" or (len(rest) == 1 and rest in _LINKS)


def _adds_symbols(span: tuple[int, int], found: Container[tuple[int, int]], text: str) -> bool:
    """Return whether a finding is another one with symbols around it, as in "bomb!"."""
    part = text[span[0] : span[1]]
    before = min(MOST_GAP, len(part) - len(part.lstrip(_SYMBOLS)))
    behind = min(MOST_GAP, len(part) - len(part.rstrip(_SYMBOLS)))
    smaller = itertools.product(range(before + 1), range(behind + 1))
    return any((span[0] + left, span[1] - right) in found for left, right in smaller if left or right)


def _joined(chain: Sequence[Word]) -> str:
    return "".join(word.text for word in chain)


_REPEATED = re.compile(r"(.)\1{2,}")


def _squeezed(word: str) -> str:
    """Return a word with at most two of the same letter in a row. Example: "boooomb" → "boomb"."""
    return _REPEATED.sub(r"\1\1", word)


@functools.lru_cache(maxsize=2**14)
def readings(word: str) -> tuple[str, ...]:
    """Return what a folded word could mean.

    Example: `readings("k1ll")` holds "k1ll", "kill" and "klll". "a55" is itself only, as digits are in the
    majority, and so is "1917".
    """
    # A symbol at an edge is a letter, or the end of a shout.
    edges = (word, word.rstrip(_SYMBOLS), word.lstrip(_SYMBOLS), word.strip(_SYMBOLS))
    found = list(edges)
    letters = sum(character.isalpha() for character in word)
    digits = sum(character.isdigit() for character in word)
    if letters and digits <= len(word) - digits and len(word) <= _LONGEST_DISGUISED:
        for text in dict.fromkeys(edges):
            choices = [_STANDS_FOR.get(character, character) for character in text]
            found += map("".join, itertools.islice(itertools.product(*choices), _MOST_READINGS))
    for text in tuple(found):
        if _REPEATED.search(text):
            found += [_squeezed(text), _REPEATED.sub(r"\1", text)]
    return tuple(dict.fromkeys(found))
