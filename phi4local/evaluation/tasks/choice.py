"""The question with four choices that MMLU and GPQA share.

Source: https://github.com/openai/simple-evals/blob/ee3b031/common.py.
"""

from __future__ import annotations

import re

from phi4local.evaluation.wording import wording

ANSWER = re.compile(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")


def prompt_of(question: str, choices: tuple[str, ...]) -> str:
    """Return the message; `choices` are those of A, B, C and D."""
    template: str = wording("choice")["question"]
    return template.format(Question=question, **dict(zip("ABCD", choices, strict=True)))


def letter_of(answer: str) -> str | None:
    """Return the first letter that is given as the answer, as it stands there.

    Example: `"Answer: $B$"` gives `"B"`, `"answer: b"` gives `"b"`, which is no letter of a choice, and
    `"**Answer:** B"` nothing.
    """
    found = ANSWER.search(answer)
    return found[1] if found else None
