"""Ask a model many questions, several at once, and count what is right."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.evaluation.interval import wilson
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from phi4local.engine import Generation
    from phi4local.evaluation.mgsm import Question
    from phi4local.runtime.language_model import LanguageModel

TEMPERATURE, MOST_TOKENS = 0.5, 1024
"""simple-evals' settings: sampler/chat_completion_sampler.py at 02e06b5."""


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A question with what the model said to it."""

    question: Question
    answer: str
    right: bool


@dataclass(frozen=True, kw_only=True)
class Score:
    """The share of right answers, between 0 and 1, with its 95 % interval."""

    right: int
    count: int

    @property
    def share(self) -> float:
        """Right answers of all; 0 without any."""
        return self.right / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval."""
        return wilson(self.right, self.count)


def drawn(questions: Sequence[Question], limit: int | None, seed: int) -> list[Question]:
    """Return `limit` questions drawn by `seed`, in their order; all of them without a limit."""
    if limit is None or limit >= len(questions):
        return list(questions)
    return [questions[place] for place in sorted(random.Random(seed).sample(range(len(questions)), limit))]  # noqa: S311


def ask(
    model: LanguageModel,
    questions: Sequence[Question],
    *,
    seed: int,
    at_once: int = 4,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Marked]:
    """Return every question's answer, marked, in the questions' order.

    Args:
        model: on this machine or on a server.
        questions: what to ask; each gets a conversation of its own.
        seed: of the sampling; the n-th question gets `seed + n`.
        at_once: how many answers are generated at the same time.
        tell: is told how many are done.
    """
    marked: list[Marked] = []
    waiting: deque[tuple[Question, Generation]] = deque()

    def collect() -> None:
        question, generation = waiting.popleft()
        answer = generation.result().text
        marked.append(Marked(question=question, answer=answer, right=question.is_right(answer)))
        tell(len(marked))

    try:
        for place, question in enumerate(questions):
            if len(waiting) >= at_once:
                collect()
            sampling = SamplingSettings(temperature=TEMPERATURE, seed=seed + place)
            waiting.append((question, model.chat(question.prompt, max_tokens=MOST_TOKENS, sampling=sampling)))
        while waiting:
            collect()
    finally:
        for _, generation in waiting:
            generation.cancel()
    return marked


def score(marked: Iterable[Marked]) -> Score:
    """Count the right answers."""
    found = [one.right for one in marked]
    return Score(right=sum(found), count=len(found))
