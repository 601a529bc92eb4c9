"""HumanEval: 164 functions to write, which their tests run.

Source: https://github.com/openai/simple-evals/blob/ee3b031/humaneval_eval.py and
https://github.com/openai/human-eval; Chen et al., arXiv 2107.03374 (section 2.1: pass@k).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

from phi4local.evaluation.data import find, json_rows
from phi4local.evaluation.locked_program import passes
from phi4local.evaluation.task import Draw, Mark, Question, Task, drawn
from phi4local.evaluation.wording import wording

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.evaluation.task import Marked

SAMPLES = 5
TIMEOUT_SECONDS = 3.0
"""simple-evals passes its 120 seconds on to nobody; human-eval's 3 count."""
HINT = "HumanEval.jsonl.gz is in the package human-eval, and at https://github.com/openai/human-eval/tree/master/data"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


def read(folder: Path, draw: Draw) -> list[Question]:
    """Read `HumanEval.jsonl.gz`; every function is asked for five times, also with a limit."""
    path = find(folder, ("HumanEval.jsonl.gz", "HumanEval.jsonl"), HINT)
    rows = json_rows(path, ("task_id", "prompt", "test", "entry_point"))
    instruction: str = wording("humaneval")["instruction"]
    return [
        Question(
            key=row["task_id"],
            repeat=repeat,
            prompt=question.prompt,
            target=row["entry_point"],
            facts={"prompt": row["prompt"], "test": row["test"]},
        )
        for repeat in range(SAMPLES if draw.repeats is None else draw.repeats)
        for question, row in _chosen(rows, instruction, draw)
    ]


def _chosen(
    rows: list[dict[str, str]], instruction: str, draw: Draw
) -> list[tuple[Question, dict[str, str]]]:
    by_key = {row["task_id"]: row for row in rows}
    every = [Question(key=row["task_id"], prompt=instruction + row["prompt"], target="") for row in rows]
    return [(question, by_key[question.key]) for question in drawn(every, draw.limit, draw.seed)]


def body_of(answer: str) -> str:
    """Return what follows the prompt: the first Python block, else all, from the first indented line on.

    Where no line ends with a colon before four spaces, the first character is dropped: simple-evals' rule.

    Example: a block with `def f(x):` and `    return x` gives the newline and `    return x`.
    """
    blocks = BLOCK.findall(answer)
    code = blocks[0] if blocks else answer
    return code[code.find(":\n    ") + 2 :]


def program_of(question: Question, body: str) -> str:
    """Return the program that ends without an error when the function is right."""
    facts = question.facts
    return f"{facts['prompt']}{body}\n{facts['test']}\ncheck({question.target})"


def mark(question: Question, answer: str, _verdict: str | None = None) -> Mark:
    """Run the function's tests in a process that may do little; see `locked_program`."""
    body = body_of(answer)
    right = passes(program_of(question, body), TIMEOUT_SECONDS)
    return Mark(score=float(right), extracted=body)


def pass_at(samples: int, right: int, tries: int) -> float:
    """Return the chance that one of `tries` of the samples is right: 1 - C(n - c, k) / C(n, k).

    Example: `pass_at(5, 2, 2)` is 0.7.
    """
    return 1.0 - math.comb(samples - right, tries) / math.comb(samples, tries)


def summary(marked: Sequence[Marked]) -> dict[str, float]:
    """Return pass@1, pass@2 and pass@5, as far as every function was asked for so often."""
    samples = Counter(one.question.key for one in marked)
    right: Counter[str] = Counter()
    for one in marked:
        right[one.question.key] += one.mark.score == 1.0
    return {
        f"pass@{tries}": sum(pass_at(count, right[key], tries) for key, count in samples.items())
        / len(samples)
        for tries in (1, 2, 5)
        if min(samples.values()) >= tries
    }


TASK = Task(
    name="humaneval",
    title="HumanEval: functions to write, run by their tests",
    read=read,
    mark=mark,
    published={"phi-4": 0.826},
    summary=summary,
)
