"""MMLU: 14,042 questions with four choices, from 57 subjects.

Source: https://github.com/openai/simple-evals/blob/ee3b031/mmlu_eval.py; Hendrycks et al., arXiv 2009.03300.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from phi4local.evaluation.data import csv_rows, find
from phi4local.evaluation.task import Draw, Mark, Question, Task, asked
from phi4local.evaluation.tasks.choice import prompt_of
from phi4local.evaluation.wording import wording

if TYPE_CHECKING:
    from pathlib import Path

HINT = "mmlu.csv is at https://openaipublic.blob.core.windows.net/simple-evals/mmlu.csv"
LETTERS = {"أبجد": "ABCD", "অবডঢ": "ABCD", "ＡＢＣＤ": "ABCD"}  # noqa: RUF001 - other scripts' letters
STRIPPED = (
    *("**", "$\\boxed{", "}$", "\\$", "$\\text{", "$", "\\mathrm{", "\\{", "\\text", "\\(", "\\mathbf{"),
    *("{", "\\boxed"),
)
"""Markdown and LaTeX that may stand between the word and the letter; taken away in this order."""


def read(folder: Path, draw: Draw) -> list[Question]:
    """Read `mmlu.csv`, with the columns Question, A, B, C, D, Answer and Subject."""
    path = find(folder, ("mmlu.csv", "mmlu.csv.gz"), HINT)
    rows = csv_rows(path, ("Question", "A", "B", "C", "D", "Answer", "Subject"))
    questions = [
        Question(
            key=f"mmlu/{number}",
            prompt=prompt_of(row["Question"], tuple(row[letter] for letter in "ABCD")),
            target=row["Answer"],
            group=row["Subject"],
        )
        for number, row in enumerate(rows)
    ]
    return asked(questions, draw)


def mark(question: Question, answer: str, _verdict: str | None = None) -> Mark:
    r"""Look for a letter behind any of 14 languages' words for "answer", the most usual first.

    Example: `"**Answer:** $\boxed{B}$"` gives B.
    """
    given = letter_of(answer)
    return Mark(score=float(given == question.target), extracted=given)


def letter_of(answer: str) -> str | None:
    """Return the letter that is given, in Latin script."""
    for mark_up in STRIPPED:
        answer = answer.replace(mark_up, "")
    for expression in _expressions():
        if found := expression.search(answer):
            return _latin(found[1])
    return None


def _latin(letter: str) -> str:
    for script, latin in LETTERS.items():
        if letter in script:
            return latin[script.index(letter)]
    return letter


@cache
def _expressions() -> tuple[re.Pattern[str], ...]:
    # The range from alif to dal holds letters that stand for no choice; simple-evals takes them as they are.
    letters = "([A-D]|[أ-د]|[অ]|[ব]|[ড]|[ঢ]|[Ａ]|[Ｂ]|[Ｃ]|[Ｄ])"  # noqa: RUF001
    return tuple(re.compile(f"(?i){word}[ \t]*{letters}") for word in wording("mmlu")["answers"])


TASK = Task(
    name="mmlu",
    title="MMLU: knowledge of 57 subjects, four choices",
    read=read,
    mark=mark,
    published={"phi-4": 0.848},
)
