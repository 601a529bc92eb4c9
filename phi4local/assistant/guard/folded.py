"""Text as the rules read it: without the disguises, and with the way back to the original."""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

_HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63"
_LETTERS_LIKE = {
    **dict(zip("авекмнорстухіјѕԛԝԁһ", "abekmhopctyxijsqwdh", strict=True)),  # Cyrillic
    **dict(zip("αβεικνορτυχζ", "abeikvoptuxz", strict=True)),  # Greek
    **dict(zip("ıłøđħɡɑ", "ilodhga", strict=True)),
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)),
    **dict.fromkeys(_HYPHENS, "-"),
    "\u2800": " ",  # braille without a dot
}
"""The look-alikes that people use to slip through; a small part of Unicode's confusables.txt."""
_LETTER_ROWS = (0x1F150, 0x1F170, 0x1F1E6)
"""Where A stands in the rows of circled and squared letters and flags that have no compatibility form."""
_FILLERS = "\u115f\u1160\u3164\uffa0"
_INVISIBLE = {"Mn", "Me", "Cf", "Cc"}


@dataclass(frozen=True, slots=True)
class Folded:
    r"""A text in its simplest form.

    Attributes:
        text: lower case, compatibility forms resolved, without accents and invisible characters, decimal
            digits of every script as 0 to 9, look-alikes of Latin letters as these.
        places: for each of its characters the index of the original one; at the end the original's length.

    Example: `fold("\uff22\u200bO\u0301M")` (a wide B, an invisible character, an O with an accent) has the
    text "bom" and the places `(0, 2, 4, 5)`.
    """

    text: str
    places: tuple[int, ...]

    def original(self, start: int, end: int) -> tuple[int, int]:
        """Return where the characters from `start` to `end` stand, with the invisible ones behind them."""
        return self.places[start], max(self.places[end - 1] + 1, self.places[end])


def fold(text: str) -> Folded:
    """Return the simplest form of a text; see `Folded`."""
    folded: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        simple = _fold(character)
        folded.append(simple)
        places += [place] * len(simple)
    return Folded("".join(folded), (*places, len(text)))


@functools.lru_cache(maxsize=2**14)
def _fold(character: str) -> str:
    if character.isspace():
        return "\n" if character in "\n\r\x0b\x0c\x85\u2028\u2029" else " "
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    for first in _LETTER_ROWS:
        if first <= ord(character) < first + 26:
            return chr(ord("a") + ord(character) - first)
    if character in _FILLERS:
        return ""
    simple = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(
        _LETTERS_LIKE.get(one, one) for one in simple if unicodedata.category(one) not in _INVISIBLE
    )
