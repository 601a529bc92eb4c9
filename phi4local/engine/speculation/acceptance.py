"""How often what followed before follows again, by how much of the text agrees."""

from __future__ import annotations

from phi4local.engine.speculation.lookup import LONGEST_MATCH

_CLASSES = (2, 4, 8, 16)
"""Matches of 2 and 3, 4 to 7, 8 to 15, 16 and more tokens are counted apart."""
_EXPECTED = (0.2, 0.4, 0.7, 0.85)
"""The chance in each class before anything was seen."""
_EXPECTED_WEIGHT = 4.0
"""How many observations that is worth."""
_MEMORY = 0.95
"""What an observation is worth when the next one of its class comes: about the last twenty count."""


class Acceptance:
    """The chance that a draft's next token is the one that the model chooses.

    Every generated token is an observation, drafted or not: whether the lookup would have had it right.

    Example: after twenty hits in the class of 8 to 15 tokens `chance(8)` is 0.94.
    """

    def __init__(self) -> None:
        self._hits = [chance * _EXPECTED_WEIGHT for chance in _EXPECTED]
        self._seen = [_EXPECTED_WEIGHT] * len(_EXPECTED)

    def observe(self, length: int, *, hit: bool) -> None:
        """Take whether the token after a match of `length` tokens was the one that followed before."""
        number = _class_of(length)
        self._hits[number] = self._hits[number] * _MEMORY + hit
        self._seen[number] = self._seen[number] * _MEMORY + 1

    def chance(self, length: int) -> float:
        """Return the probability that the token after a match of `length` tokens is right."""
        number = _class_of(length)
        return self._hits[number] / self._seen[number]

    def expected_tokens(self, length: int, most: int) -> list[float]:
        """Return the tokens that a step gives with drafts of 0 to `most` tokens, on average.

        A draft's tokens count up to the first wrong one, and the model's own choice comes after them: with
        chances p, q, … of its tokens 1 + p + pq + … (Leviathan et al., https://arxiv.org/abs/2211.17192,
        equation 1, for chances that differ). Each right token makes the match longer, and so surer.

        Example: a chance of 0.5 for all, `most=2` → [1, 1.5, 1.75].
        """
        expected, reached = [1.0], 1.0
        for place in range(most):
            reached *= self.chance(min(length + place, LONGEST_MATCH))
            expected.append(expected[-1] + reached)
        return expected


def _class_of(length: int) -> int:
    return sum(length >= low for low in _CLASSES[1:])
