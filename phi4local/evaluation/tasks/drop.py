"""DROP: questions about a passage that want some arithmetic, behind three solved examples.

Source: https://github.com/openai/simple-evals/blob/0637982/drop_eval.py; Dua et al., arXiv 1903.00161. Its
figure is F1. There the examples of each prompt depend on how threads take turns; here on the data's order.
"""

from __future__ import annotations

import random
import re
import string
from typing import TYPE_CHECKING

from phi4local.evaluation.data import find, json_rows
from phi4local.evaluation.task import Draw, Mark, Question, Task, drawn, repeats_wanted
from phi4local.evaluation.wording import wording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.evaluation.task import Marked

EXAMPLES = 3
SEED = 42
"""simple-evals' own; a person's seed is added to it."""
HINT = "drop_v0_dev.jsonl.gz and drop_v0_train.jsonl.gz are at https://openaipublic.blob.core.windows.net/simple-evals/"
ANSWER = re.compile(r"(?i)Answer\s*:\s*([^\n]+)")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def read(folder: Path, draw: Draw) -> list[Question]:
    """Read `drop_v0_dev.jsonl.gz` and the examples in `drop_v0_train.jsonl.gz`."""
    fields = ("context", "completion", "ref_text")
    solved = json_rows(find(folder, ("drop_v0_train.jsonl.gz", "drop_v0_train.jsonl"), HINT), fields)
    rows = json_rows(find(folder, ("drop_v0_dev.jsonl.gz", "drop_v0_dev.jsonl"), HINT), fields)
    questions = [
        Question(key=f"drop/{number}", prompt=row["context"], target=row["ref_text"])
        for number, row in enumerate(rows)
        if any(text.strip() for text in row["ref_text"].split("|"))
    ]
    chance = random.Random(SEED + draw.seed)  # noqa: S311
    return [
        Question(
            key=question.key,
            repeat=repeat,
            prompt=_prompt(chance.sample(solved, min(EXAMPLES, len(solved))), question.prompt),
            target=question.target,
        )
        for repeat in range(repeats_wanted(draw, 1))
        for question in drawn(questions, draw.limit, SEED + draw.seed)
    ]


def _prompt(solved: list[dict[str, str]], context: str) -> str:
    texts = wording("drop")
    shown = "".join(f"\n---\n{row['context']} {row['completion']}\n" for row in solved)
    return f"{texts['begin']}{shown}{texts['task']}\n---\n{context} {texts['end']}"


def mark(question: Question, answer: str, _verdict: str | None = None) -> Mark:
    """Return the best F1 over the accepted answers, which `|` parts; without "Answer:" all of it counts."""
    found = ANSWER.search(answer)
    given = found[1] if found else answer
    accepted = [text for text in question.target.split("|") if text.strip()]
    return Mark(
        score=max(f1(given, text) for text in accepted),
        extracted=given,
        metrics={
            "exact": float(any(_normalized(given) == _normalized(text) for text in accepted)),
            "contained": float(any(_contained(given, text) for text in question.target.split("|"))),
        },
    )


def f1(given: str, accepted: str) -> float:
    """Return how far the words of two texts are the same, between 0 and 1, rounded to four digits.

    Articles and punctuation do not count, and a number that is accepted must be there.

    Example: `f1("the 3 red cars", "3 cars")` is 0.8, `f1("4 cars", "3 cars")` is 0.
    """
    words, wanted = set(_normalized(given).split()), set(_normalized(accepted).split())
    numbers = {word for word in wanted if _is_number(word)}
    if numbers and not numbers & {word for word in words if _is_number(word)}:
        return 0.0
    common = len(words & wanted)
    precision = common / len(words) if words else 1.0
    recall = common / len(wanted) if wanted else 1.0
    if precision == recall == 0.0:
        return 0.0
    return round(2 * precision * recall / (precision + recall) * 100, 2) / 100


def _normalized(text: str) -> str:
    parts = []
    for part in re.split(" |-", text):
        token = part.lower()
        if not _is_number(token):
            token = token.translate(_PUNCTUATION)
        if _is_number(token):
            token = str(float(token))
        parts.append(" ".join(re.sub(r"\b(a|an|the)\b", " ", token).split()))
    return " ".join(part for part in parts if part).strip()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _contained(given: str, accepted: str) -> bool:
    first, second = _plain(given), _plain(accepted)
    if not first or not second:
        return first == second
    return first in second or second in first


def _plain(text: str) -> str:
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split())


def summary(marked: Sequence[Marked]) -> dict[str, float]:
    """Return the shares of answers that are exact, and of those that hold an accepted one or lie in one."""
    return {
        name: sum(one.mark.metrics[name] for one in marked) / len(marked) for name in ("exact", "contained")
    }


TASK = Task(
    name="drop",
    title="DROP: questions about a passage, F1 behind three examples",
    read=read,
    mark=mark,
    published={"phi-4": 0.755},
    summary=summary,
)
