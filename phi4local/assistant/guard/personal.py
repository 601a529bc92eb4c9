"""Personal data: patterns that take linear time, with checksums where there are any."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.assistant.guard.finding import Action, Finding
from phi4local.assistant.guard.numbers import IBAN_LENGTHS, LONGEST_CARD, SHORTEST_CARD, is_card, is_iban

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from phi4local.assistant.guard.folded import Folded

_AT = r"(?:@| ?[(\[{]at[)\]}] ?)"
_DOT = r"(?:\.| ?[(\[{]dot[)\]}] ?)"
_LOCAL = r"[a-z0-9_.+%'-]"
# Possessive, and begun only where a run begins: each character is read once or twice.
_EMAIL = re.compile(rf"(?<!{_LOCAL}){_LOCAL}++{_AT}[\w-]++(?:{_DOT}[\w-]++)++")
_DIGITS = re.compile(r"(?<!\d)\d++(?:[ .\-_]{1,2}\d++)*+")
_PHONES = (
    re.compile(r"(?<![\w+])\+\(?[1-9](?:[ ().\-/]{0,3}\d){6,14}+(?!\d)"),
    re.compile(r"(?<![\w+.,])(?<!\d[ -])00 ?[1-9](?:[ ().\-/]{0,3}\d){8,14}+(?!\d)"),
    re.compile(
        r"(?<![\w.,+/-])(?<!\d )(?:1[ .-])?"
        r"(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}(?![\w-]|[.,]\d)"
    ),
    re.compile(
        r"(?<![\w.,+/-])(?<!\d )(?!\d\d[-/]\d\d?[-/]\d{4})(?:\(0[1-9]\d{0,4}\)|0[1-9]\d{0,4})[ /-]"
        r"\d{2,8}+(?:[ -]\d{2,5}+){0,4}+(?![\w-]|[.,]\d)"
    ),
    re.compile(r"(?<![\w.,+/-])(?<!\d )0[1-9](?:\.\d\d){4}(?![\w-]|[.,]\d)"),
)
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}([ -])(?!00)\d\d\1(?!0000)\d{4}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}(?:(?:\.|\[\.\])\d{1,3}){3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-f]{3}:[0-9a-f:]{2,36}(?![\w:])")
_VERSION = re.compile(r"\b(?:version|build|release|v\.?)[ :]{1,2}\Z")
_IBAN = re.compile(r"(?<![^\W_])[a-z]{2}[ -]?\d[ -]?\d")
_IBAN_REST = re.compile(r"(?:[ -]?[a-z0-9]){11,30}")

_NUMBER_TAIL = re.compile(r"[\d+(][\d ().,\-/_\[\]+]*\Z")
_HEX_TAIL = re.compile(r"[0-9a-f:]+\Z")
_IBAN_TAIL = re.compile(r"(?<![^\W_])[a-z](?:[a-z](?:[ -]?\d(?:[ -]?[a-z0-9]){0,31})?)?[ -]?\Z")
_LONGEST_EMAIL, _LONGEST_NUMBER = 330, 64
"""64 characters, `@` and 255: RFC 5321, 4.5.3.1. 19 digits with two separators between them are 55."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """One kind of personal data.

    Attributes:
        category: what it is called for people.
        find: start and end of each in a folded text.
        open_from: where one could begin that the end of the text cuts off.
    """

    category: str
    find: Callable[[str], Iterator[tuple[int, int]]]
    open_from: Callable[[str], int]


class PersonalData:
    """E-mail addresses, numbers of phones, accounts, cards and persons, addresses of machines.

    Numbers with a checksum count only when it is right, IP addresses only when they are public. `(at)` and
    `[dot]` are read, digits of all scripts, and numbers with spaces, dots or hyphens between their digits.

    Example: `PersonalData("private", ("email",)).find(fold("to pip@fox.org"))` finds the places 3 to 14.
    """

    def __init__(self, name: str, patterns: Iterable[str] | None = None, *, action: Action = "block") -> None:
        self.name = name
        self._action = action
        chosen = tuple(patterns or PATTERNS)
        self._patterns = [pattern for kind, pattern in PATTERNS.items() if kind in chosen]

    def find(self, folded: Folded) -> list[Finding]:
        """Return what was found, kind by kind."""
        return [
            Finding(
                rule=self.name, category=pattern.category, action=self._action, start=place[0], end=place[1]
            )
            for pattern in self._patterns
            for found in pattern.find(folded.text)
            for place in [folded.original(*found)]
        ]

    def open_from(self, folded: Folded) -> int:
        """Return where the first of them could begin that more text would decide."""
        return folded.places[min(pattern.open_from(folded.text) for pattern in self._patterns)]


def _emails(text: str) -> Iterator[tuple[int, int]]:
    for found in _EMAIL.finditer(text):
        ending = re.split(_DOT, found[0])[-1].partition("-")[0]
        if len(ending) >= 2 and ending.isalpha():
            yield found.span()


def _email_tail(text: str) -> int:
    """Return where the last run without spaces begins; a bracket or the end joins it with the one before."""
    start = len(text)
    while True:
        while start and not text[start - 1].isspace():
            start -= 1
        before = text[:start][-2:]
        bracket = text[start : start + 1] in ("", "(", "[", "{") or before[:1] in (")", "]", "}")
        if not (len(before) == 2 and before[1] == " " and not before[0].isspace() and bracket):
            return max(start, len(text) - _LONGEST_EMAIL)
        start -= 1


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for pattern in _PHONES:
        for found in pattern.finditer(text):
            if sum(character.isdigit() for character in found[0]) >= 9 or found[0][0] in "+(":
                yield found.span()


def _ssns(text: str) -> Iterator[tuple[int, int]]:
    for found in _SSN.finditer(text):
        yield found.span()


def _ips(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            if not _VERSION.search(text, max(0, found.start() - 12), found.start()) and _is_public(found[0]):
                yield found.span()


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.replace("[.]", ".").rstrip(":")).is_global
    except ValueError:
        return False


def _ip_tail(text: str) -> int:
    return min(_number_tail(text), _tail(_HEX_TAIL, text, _LONGEST_NUMBER))


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for run in _DIGITS.finditer(text):
        groups = list(re.finditer(r"\d+", run[0]))
        for first in range(len(groups)):
            texts: list[str] = []
            for group in groups[first : first + LONGEST_CARD]:
                texts.append(group[0])
                count = sum(map(len, texts))
                if count > LONGEST_CARD:
                    break
                if count >= SHORTEST_CARD and is_card(texts):
                    yield run.start() + groups[first].start(), run.start() + group.end()


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for found in _IBAN.finditer(text):
        wanted = IBAN_LENGTHS.get(found[0][:2].upper(), 0) - 4
        rest = _IBAN_REST.match(text, found.end())
        if wanted < 0 or not rest:
            continue
        places = [place for place in range(*rest.span()) if text[place].isalnum()][:wanted]
        end = places[-1] + 1
        whole = "".join(character for character in text[found.start() : end] if character.isalnum())
        if not text[end : end + 1].isalnum() and is_iban(whole):
            yield found.start(), end


def _number_tail(text: str) -> int:
    return _tail(_NUMBER_TAIL, text, _LONGEST_NUMBER)


def _iban_tail(text: str) -> int:
    return _tail(_IBAN_TAIL, text, _LONGEST_NUMBER + 8)


def _tail(pattern: re.Pattern[str], text: str, longest: int) -> int:
    found = pattern.search(text, max(0, len(text) - longest))
    return found.start() if found else len(text)


PATTERNS = {
    "us_ssn": Pattern(category="social security number", find=_ssns, open_from=_number_tail),
    "email": Pattern(category="e-mail address", find=_emails, open_from=_email_tail),
    "phone": Pattern(category="phone number", find=_phones, open_from=_number_tail),
    "iban": Pattern(category="bank account", find=_ibans, open_from=_iban_tail),
    "credit_card": Pattern(category="card number", find=_cards, open_from=_number_tail),
    "ip_address": Pattern(category="IP address", find=_ips, open_from=_ip_tail),
}
"""By their names in a policy. What two of them find at the same place is called as the first one calls it."""
