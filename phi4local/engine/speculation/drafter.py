"""One request's drafts: what the lookup finds, and how often it was right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.engine.speculation.acceptance import Acceptance
from phi4local.engine.speculation.lookup import Lookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.engine.model import LoadedModel
    from phi4local.engine.speculation.lookup import Match
    from phi4local.settings import SamplingSettings


class Drafter:
    """Guess the next tokens of a text from the text itself.

    Args:
        tokens: prompt and answer so far, a list that its owner appends to.

    Attributes:
        drafted: guesses that were evaluated.
        accepted: those that were right.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self.drafted = self.accepted = 0
        self._tokens = tokens
        self._acceptance = Acceptance()
        self._lookup = Lookup(tokens)
        self._match: Match | None = None

    @property
    def seconds_per_guess(self) -> float:
        """What each guess of the coming draft costs: looking up is free."""
        return 0.0

    def note(self, *, right: bool) -> None:
        """Take in the token that was just chosen, and compare it with the one that was expected.

        Args:
            right: it had been drafted.
        """
        self.accepted += right
        if self._match is not None:
            expected = self._lookup.draft(self._match, 1)[0]
            self._acceptance.observe(self._match.length, hit=expected == self._tokens[-1])
        self._lookup.learn()
        self._match = self._lookup.match()

    def start_again(self) -> None:
        """Forget the places: tokens were taken out of the text."""
        self._lookup = Lookup(self._tokens)
        self._match = None

    def expected_tokens(self, most: int) -> list[float]:
        """Return how many tokens a step gives on average with drafts of 0, 1, … tokens."""
        if self._match is None or most < 1:
            return [1.0]
        return self._acceptance.expected_tokens(self._match.length, most)

    def draft(self, count: int) -> list[int]:
        """Return the next `count` tokens that the lookup expects; none without a match."""
        return [] if self._match is None else self._lookup.draft(self._match, count)

    def close(self) -> None:
        """Free what it holds: nothing."""


def drafter_for(tokens: list[int], model: LoadedModel, sampling: SamplingSettings) -> Drafter | None:
    """Return who guesses the next tokens of a request, or `None` when nobody should.

    An answer that follows a schema or grammar from its first token on is not guessed: what stands in the
    prompt seldom fits there.
    """
    structured = sampling.json_schema or sampling.regex or sampling.grammar
    free_at_first = sampling.structure_after or sampling.structure_trigger or sampling.structure_start
    if model.facts.settings.speculation == "off" or (structured and not free_at_first):
        return None
    if model.draft is None:
        return Drafter(tokens)
    from phi4local.engine.speculation.model_drafter import ModelDrafter

    return ModelDrafter(tokens, model.draft, model.facts.vocabulary_tokens)
