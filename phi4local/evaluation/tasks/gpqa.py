"""GPQA diamond: 198 questions for experts, four choices in a shuffled order.

Source: https://github.com/openai/simple-evals/blob/ee3b031/gpqa_eval.py; Rein et al., arXiv 2311.12022.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from phi4local.evaluation.data import csv_rows, find
from phi4local.evaluation.task import Draw, Mark, Question, Task, repeats_wanted
from phi4local.evaluation.tasks.choice import letter_of, prompt_of

if TYPE_CHECKING:
    from pathlib import Path

REPEATS = 10
CHOICES = ("Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
HINT = "gpqa_diamond.csv is at https://openaipublic.blob.core.windows.net/simple-evals/gpqa_diamond.csv"


def read(folder: Path, draw: Draw) -> list[Question]:
    """Read `gpqa_diamond.csv`. Every repeat has an order of choices of its own, simple-evals' with seed 0."""
    path = find(folder, ("gpqa_diamond.csv",), HINT)
    rows = list(enumerate(csv_rows(path, ("Question", *CHOICES))))
    # One generator draws and shuffles, so that seed 0 gives simple-evals' choices in its order.
    chance = random.Random(draw.seed)  # noqa: S311
    if draw.limit is not None and draw.limit < len(rows):
        rows = chance.sample(rows, draw.limit)
    times = repeats_wanted(draw, REPEATS)
    return [
        _question(number, repeat, row, chance.sample(range(4), 4))
        for repeat in range(times)
        for number, row in rows
    ]


def _question(number: int, repeat: int, row: dict[str, str], order: list[int]) -> Question:
    choices = tuple(row[CHOICES[place]] for place in order)
    return Question(
        key=f"gpqa/{number}",
        repeat=repeat,
        prompt=prompt_of(row["Question"], choices),
        target="ABCD"[choices.index(row["Correct Answer"])],
    )


def mark(question: Question, answer: str, _verdict: str | None = None) -> Mark:
    """Compare the first letter that is given with the right one."""
    given = letter_of(answer)
    return Mark(score=float(given == question.target), extracted=given)


TASK = Task(
    name="gpqa",
    title="GPQA diamond: questions for experts, four choices",
    read=read,
    mark=mark,
    published={"phi-4": 0.561},
)
