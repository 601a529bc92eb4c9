"""What the page sends."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from phi4local.server.strict import Strict
from phi4local.settings import SamplingSettings


class AnswerRequest(Strict):
    """A question, and where in which conversation it stands.

    Attributes:
        model: who shall answer.
        text: the question.
        session: name or id of a kept conversation; `None` begins one.
        turn: how many of its questions stay: 0 replaces the first one, `None` keeps all.
        system: the instruction before everything; `None` leaves it as it is, an empty one takes it away.
    """

    model: str
    text: str = Field(min_length=1)
    session: str | None = None
    turn: int | None = Field(default=None, ge=0)
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = Field(default=None, ge=1)

    def sampling(self) -> SamplingSettings:
        """Return how tokens are chosen; what is unset is the model's own."""
        return SamplingSettings(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            seed=self.seed,
        )


class TokensRequest(Strict):
    """What to count: a text, or a kept conversation."""

    model: str
    text: str = ""
    session: str | None = None


class RenameRequest(Strict):
    """What a conversation shall be called."""

    name: str


class FeedbackRequest(Strict):
    """What a person thinks of an answer: that to the question number `turn`, counted from 0."""

    session: str
    turn: int = Field(ge=0)
    rating: Literal["good", "bad"]
    note: str | None = None
