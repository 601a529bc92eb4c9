"""Words to search by: English and the identifiers of programs."""

from __future__ import annotations

import functools
import re

_WORD = re.compile(r"[^\W_]+(?:_+[^\W_]+)*")
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "after",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "because",
        "been",
        "but",
        "by",
        "can",
        "could",
        "did",
        "do",
        "does",
        "doing",
        "each",
        "for",
        "from",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "here",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "just",
        "like",
        "ll",
        "me",
        "more",
        "most",
        "must",
        "my",
        "no",
        "not",
        "of",
        "on",
        "one",
        "only",
        "or",
        "other",
        "our",
        "out",
        "over",
        "own",
        "re",
        "s",
        "same",
        "shall",
        "she",
        "should",
        "so",
        "some",
        "such",
        "t",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "to",
        "too",
        "up",
        "us",
        "ve",
        "was",
        "way",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)


def search_words(text: str) -> list[str]:
    """Return stems in the order of the text; an identifier gives itself and its parts.

    Example: `search_words("How do I set max_length in getUserNames?")` is
    `['set', 'max_length', 'max', 'length', 'getusernam', 'get', 'user', 'nam']`.
    """
    found: list[str] = []
    for word in _WORD.findall(text):
        found += _terms(word)
    return found


@functools.lru_cache(maxsize=65536)
def _terms(word: str) -> tuple[str, ...]:
    parts = [part.lower() for part in _PARTS.findall(word)]
    whole = word.lower()
    if len(parts) > 1:
        kept = [stem(part) for part in parts if part not in STOP_WORDS]
        return (whole if "_" in whole else stem(whole), *kept)
    return () if whole in STOP_WORDS else (stem(whole),)


_VOWEL = re.compile(r"[aeiou]|(?<=[^aeiou])y")
_DOUBLE = re.compile(r"([^aeiouylsz])\1$")
_SHORT = re.compile(r"^[^aeiou]*[aeiouy][^aeiouwxy]$")


def stem(word: str) -> str:
    """Cut plurals and endings: step 1 of Porter, "An algorithm for suffix stripping" (1980), and a final e.

    Only plain ASCII words of four letters or more are touched. Examples: `ponies` → `poni`, `hopping`
    → `hop`, `caching`, `cached` and `cache` → `cach`.
    """
    if len(word) < 4 or not (word.isascii() and word.isalpha()):
        return word
    word = _without_plural(word)
    word = _without_tense(word)
    if word.endswith("y") and _VOWEL.search(word[:-1]):
        word = word[:-1] + "i"
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _without_plural(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) else word


def _without_tense(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _VOWEL.search(word[:-3]) else word
    for ending in ("ed", "ing"):
        root = word.removesuffix(ending)
        if root != word and _VOWEL.search(root):
            if root.endswith(("at", "bl", "iz")):
                return root + "e"
            return root[:-1] if _DOUBLE.search(root) else root + "e" * bool(_SHORT.match(root))
    return word
