"""What marked answers come to: a figure with its interval, beside the published one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.evaluation.interval import resampled, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.evaluation.task import Marked, Task


@dataclass(frozen=True, kw_only=True)
class Score:
    """The mean of answers' scores, between 0 and 1, with its 95 % interval.

    Attributes:
        questions: how many different ones.
        answers: how many, repeats counted.
        interval: Wilson's where each question has one answer, right or wrong; else the bootstrap's over
            questions.
    """

    questions: int
    answers: int
    share: float
    interval: tuple[float, float]

    def to_mapping(self) -> dict[str, Any]:
        """Return the figures for `--json`."""
        numbers = {"questions": self.questions, "answers": self.answers, "share": self.share}
        return {**numbers, "interval": list(self.interval)}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A task's result.

    Attributes:
        task: its name.
        score: of all answers.
        groups: of each part, such as a language.
        figures: the task's further figures.
        published: Microsoft's figure for this model; `None` where there is none.
        comparable: marked as simple-evals marks.
    """

    task: str
    score: Score
    groups: dict[str, Score]
    figures: dict[str, float]
    published: float | None
    comparable: bool

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """Measured less published, and that interval's ends; the published figure is taken as it stands."""
        if self.published is None:
            return None
        low, high = self.score.interval
        return self.score.share - self.published, low - self.published, high - self.published

    def to_mapping(self) -> dict[str, Any]:
        """Return the result for `--json`."""
        return {
            "task": self.task,
            **self.score.to_mapping(),
            "comparable": self.comparable,
            "published": self.published,
            "difference": None if self.difference is None else list(self.difference),
            "figures": self.figures,
            "groups": {name: score.to_mapping() for name, score in self.groups.items()},
        }


def outcome(task: Task, marked: Sequence[Marked], *, model: str | None, graded: bool) -> Outcome:
    """Return a task's result.

    Args:
        task: what was asked.
        marked: at least one answer.
        model: the family's name of the model, or its name on a server.
        graded: a grader marked the answers of a task that has one.
    """
    groups: dict[str, list[Marked]] = {}
    for one in marked:
        groups.setdefault(one.question.group, []).append(one)
    return Outcome(
        task=task.name,
        score=score(marked),
        groups={name: score(part) for name, part in groups.items() if name},
        figures=task.summary(marked),
        published=task.published.get(_plain_name(model)),
        comparable=graded or task.comparable,
    )


def score(marked: Sequence[Marked]) -> Score:
    """Return the mean of answers' scores and how far it can be from the true one."""
    questions: dict[str, list[float]] = {}
    for one in marked:
        questions.setdefault(one.question.key, []).append(one.mark.score)
    means = [sum(values) / len(values) for values in questions.values()]
    values = [one.mark.score for one in marked]
    plain = len(values) == len(means) and all(value in {0.0, 1.0} for value in values)
    share = sum(values) / len(values) if values else 0.0
    interval = wilson(round(sum(values)), len(values)) if plain else resampled(means)
    return Score(questions=len(means), answers=len(values), share=share, interval=interval)


def _plain_name(model: str | None) -> str:
    """Return a model's name without organization and tag. Example: `"microsoft/Phi-4:Q8_0"` is `"phi-4"`."""
    return (model or "").lower().rsplit("/", 1)[-1].split(":", 1)[0]
