"""Where in a text its newest tokens stood before: what followed there may follow again."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_MATCH = 32
"""Longer matches are no surer, and counting them costs time."""
MOST_PLACES = 8
"""Earlier places that are compared for one token: the newest ones of its pair."""
_SHIFT = 32


class Match(NamedTuple):
    """An earlier place whose tokens are those at the end of the text.

    Attributes:
        place: index of the token that followed there.
        length: how many tokens are equal, 2 to `LONGEST_MATCH`.
    """

    place: int
    length: int


class Lookup:
    """An index of pairs of tokens that grows with the text.

    Each pair of neighbours remembers where it stood last, and each place where its pair stood before that:
    chains as in LZ77. A token costs one entry to learn (about 150 bytes), and at most `MOST_PLACES`
    comparisons to look up, however long the text is.

    Args:
        tokens: the text, a list that its owner appends to.

    Example: the tokens 5 6 7 8 5 6 → the longest match is at index 2, with length 2, and the draft of three
    tokens is 7 8 5.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens
        self._newest: dict[int, int] = {}
        self._earlier = array("i")
        self._followed: Match | None = None

    def learn(self) -> None:
        """Take in what was appended since the last call."""
        tokens, newest, earlier = self._tokens, self._newest, self._earlier
        for place in range(len(earlier), len(tokens)):
            pair = (tokens[place - 1] << _SHIFT) | tokens[place] if place else -1
            earlier.append(newest.get(pair, -1))
            newest[pair] = place

    def match(self) -> Match | None:
        """Return the earlier place with most tokens in common with the end; the newest one of equals.

        A place that was followed goes on being followed, though newer ones may have pushed it out.
        """
        end = len(self._earlier) - 1
        best = self._gone_on(end)
        place = self._earlier[end] if end >= 0 else -1
        for _ in range(MOST_PLACES):
            if place < 1:
                break
            length = self._common(place, end)
            if best is None or length > best.length:
                best = Match(place + 1, length)
            if length == LONGEST_MATCH:
                break
            place = self._earlier[place]
        self._followed = best
        return best

    def draft(self, match: Match, count: int) -> list[int]:
        """Return the `count` tokens that followed; beyond the end of the text its period goes on."""
        draft = list(self._tokens[match.place : match.place + count])
        while len(draft) < count:
            draft.append(draft[match.place + len(draft) - len(self._tokens)])
        return draft

    def _gone_on(self, end: int) -> Match | None:
        """Return the place after the last match's, if its token came."""
        last = self._followed
        if last is None or last.place >= end or self._tokens[last.place] != self._tokens[end]:
            return None
        return Match(last.place + 1, min(last.length + 1, LONGEST_MATCH))

    def _common(self, place: int, end: int) -> int:
        """Return how many tokens up to `place` equal those up to `end`."""
        tokens, most = self._tokens, min(place + 1, LONGEST_MATCH)
        length = 2
        while length < most and tokens[place - length] == tokens[end - length]:
            length += 1
        return length
