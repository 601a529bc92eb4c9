"""One request's drafts when there is a draft model: its guesses, or the lookup's where these are surer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.engine.speculation.drafter import Drafter
from phi4local.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.engine.speculation.draft_model import Draft, DraftModel

EXPECTED_CHANCE = 0.7
"""The chance that a guess of the draft model is right, before anything was seen."""
_LEARNING = 0.1
"""What the newest guess counts in the chance."""
_FORGETTING = 0.01
"""How far the chance goes back to the expected one with each token that nobody guessed: texts change."""


class ModelDrafter(Drafter):
    """Guess the next tokens with a draft model, or from the text itself.

    Args:
        tokens: prompt and answer so far, a list that its owner appends to.
        model: writes the guesses; it may have no room for this text, then the lookup is left.
        vocabulary_tokens: of the model that checks them.
    """

    def __init__(self, tokens: Sequence[int], model: DraftModel, vocabulary_tokens: int) -> None:
        super().__init__(tokens)
        self._model = model
        self._vocabulary_tokens = vocabulary_tokens
        self._draft: Draft | None = None
        self._broken = False
        self._chance = EXPECTED_CHANCE
        self._by_model = False
        self._unchecked = 0

    @property
    def seconds_per_guess(self) -> float:
        """What each guess of the coming draft costs."""
        return self._model.seconds_per_guess if self._by_model else 0.0

    def note(self, *, right: bool) -> None:
        """Take in the token that was just chosen; see `Drafter.note`."""
        if self._unchecked:
            self._chance += _LEARNING * (right - self._chance)
            self._unchecked = self._unchecked - 1 if right else 0
        else:
            self._chance += _FORGETTING * (EXPECTED_CHANCE - self._chance)
        super().note(right=right)

    def start_again(self) -> None:
        """Forget the text: tokens were taken out of it."""
        super().start_again()
        if self._draft is not None:
            self._draft.start_again()

    def expected_tokens(self, most: int) -> list[float]:
        """Return what a step gives on average with drafts of 0, 1, … tokens of the better guesser."""
        looked_up = super().expected_tokens(most)
        self._by_model = False
        if most < 1 or not self._can_guess(most):
            return looked_up
        expected = [1.0]
        for place in range(most):
            expected.append(expected[-1] + self._chance ** (place + 1))
        if len(looked_up) == len(expected) and looked_up[-1] >= expected[-1]:
            return looked_up
        self._by_model = True
        return expected

    def draft(self, count: int) -> list[int]:
        """Return up to `count` guesses; none while the draft model still reads the prompt."""
        self._unchecked = 0
        if not self._by_model or count < 1 or self._draft is None:
            return super().draft(count) if count else []
        try:
            if not self._draft.catch_up(self._tokens, count):
                return []
            guesses = self._draft.guess(self._tokens, count, vocabulary_tokens=self._vocabulary_tokens)
        except EngineError:  # guesses are no part of the answer: it goes on without them
            self._broken = True
            self.close()
            return []
        self._unchecked = len(guesses)
        return guesses

    def close(self) -> None:
        """Give the draft model's place to another text."""
        if self._draft is not None:
            self._draft.close()
            self._draft = None

    def _can_guess(self, most: int) -> bool:
        """Return whether the draft model has room for this text, which it takes up the first time."""
        if self._broken or len(self._tokens) + most > self._model.context_tokens:
            return False
        if self._draft is None:
            self._draft = self._model.join()
        return self._draft is not None
