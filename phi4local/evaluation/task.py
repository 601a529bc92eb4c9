"""What a benchmark is here: questions to ask, and a rule that marks an answer."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question as the model gets it, with what is right.

    Attributes:
        key: its name in the data, such as `"HumanEval/7"`; the same for every repeat of it.
        prompt: the one message that the model gets.
        target: what is right, in the task's own form.
        group: a part of the task that has a score of its own, such as a language.
        repeat: 0 for the first time that it is asked.
        facts: what marking needs beside the target, such as HumanEval's tests.
    """

    key: str
    prompt: str
    target: str
    group: str = ""
    repeat: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What an answer is worth.

    Attributes:
        score: between 0 and 1; what the task's figure is the mean of.
        extracted: the part of the answer that counted; `None` where the rule found none.
        metrics: further numbers that the task's summary is made of.
    """

    score: float
    extracted: str | None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A question with what the model said to it, and what that is worth."""

    question: Question
    answer: str
    mark: Mark
    verdict: str | None = None


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Which questions are asked, and how often.

    Attributes:
        limit: so many questions are drawn; all of them without.
        seed: of the drawing; 0 draws what simple-evals draws.
        repeats: how often each is asked; `None` for simple-evals' number, which is 1 with a limit.
    """

    limit: int | None = None
    seed: int = 0
    repeats: int | None = None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A benchmark.

    Attributes:
        name: as it is typed.
        title: a line that says what it is.
        read: makes the questions out of a folder with the task's files.
        mark: marks an answer; its third argument is the grader's reply to `grading`, if there was one.
        grading: the message that a grader gets about an answer; unset where rules alone decide.
        needs_grader: nothing can be marked without one.
        comparable: marked without a grader, the figure is the one that simple-evals would give.
        published: Microsoft's figures by the name of the model, between 0 and 1.
        shipped: the questions are part of phi4local; no folder is read.
        summary: further figures of a whole run.
    """

    name: str
    title: str
    read: Callable[[Path, Draw], list[Question]]
    mark: Callable[[Question, str, str | None], Mark]
    grading: Callable[[Question, str], str] | None = None
    needs_grader: bool = False
    comparable: bool = True
    published: Mapping[str, float] = field(default_factory=dict)
    shipped: bool = False
    summary: Callable[[Sequence[Marked]], dict[str, float]] = lambda _: {}


def drawn(questions: Sequence[Question], limit: int | None, seed: int) -> list[Question]:
    """Return `limit` questions drawn by `seed`, in their order; all of them without a limit.

    It draws the questions that `random.Random(seed).sample(questions, limit)` draws, as simple-evals does.
    """
    if limit is None or limit >= len(questions):
        return list(questions)
    return [questions[place] for place in sorted(random.Random(seed).sample(range(len(questions)), limit))]  # noqa: S311


def asked(questions: Sequence[Question], draw: Draw, repeats: int = 1) -> list[Question]:
    """Return the drawn questions, all of them as often as wanted.

    Args:
        questions: of the whole data.
        draw: what the person wants.
        repeats: how often simple-evals asks when it asks everything.

    Example: three questions and two repeats give the keys 0, 1, 2, 0, 1, 2.
    """
    chosen = drawn(questions, draw.limit, draw.seed)
    times = repeats_wanted(draw, repeats)
    return [replace(question, repeat=repeat) for repeat in range(times) for question in chosen]


def repeats_wanted(draw: Draw, repeats: int) -> int:
    """Return how often a question is asked; simple-evals repeats only when all are asked."""
    if draw.repeats is not None:
        return draw.repeats
    return repeats if draw.limit is None else 1
