"""MGSM: school mathematics in eleven languages, asked and marked as OpenAI's simple-evals does.

Source: https://github.com/openai/simple-evals/blob/0637982/mgsm_eval.py; the questions are from
https://github.com/google-research/url-nlp/tree/main/mgsm (CC BY 4.0).
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from phi4local.errors import EvaluationDataError

LANGUAGES = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
PUBLISHED = {"phi-4": 0.806}
"""Microsoft's figure, from https://huggingface.co/microsoft/phi-4."""
NUMBER = r"\d+\.?\d*"
"""simple-evals' expression; `\\d` also finds the digits of other scripts, which then equal no target."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question with the number that is right, such as `"1,234"`."""

    language: str
    text: str
    target: str

    @property
    def prompt(self) -> str:
        """The text that the model gets."""
        return _wording()[self.language]["prompt"].replace("{input}", self.text)

    def extracted(self, answer: str) -> str:
        """Return the number that counts as given: the last one behind the last word for "answer".

        Example: `"Answer: 1,200 or $1,234.00."` gives `"1234.00"`; without that word it is empty.
        """
        word = _wording()[self.language]["answer"]
        if word not in answer:
            return ""
        numbers = re.findall(NUMBER, answer.rsplit(word, 1)[1].replace(",", ""))
        return numbers[-1].rstrip(".") if numbers else ""

    def is_right(self, answer: str) -> bool:
        """Return whether an answer's number is the target; zeros behind a decimal point do not count.

        Example: for the target `"18"`, `"Answer: 18.0"` is right and `"Answer: 18 or 19"` is not.
        """
        given = self.extracted(answer)
        if "." in given:
            given = given.rstrip("0").rstrip(".")
        return given == self.target.replace(",", "")


def read_questions(folder: Path, languages: tuple[str, ...] = LANGUAGES) -> list[Question]:
    """Read `mgsm_en.tsv` and so on: a question, a tab and a whole number a line.

    Raises:
        EvaluationDataError: a file is missing, or a line is something else.
    """
    return [
        question for language in languages for question in _read(folder / f"mgsm_{language}.tsv", language)
    ]


def _read(path: Path, language: str) -> list[Question]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationDataError(path, f"cannot be read: {error}") from error
    questions = []
    for number, line in enumerate(lines, start=1):
        text, tab, target = line.strip().partition("\t")
        if not tab or not re.fullmatch(r"-?[\d,]+", target):
            raise EvaluationDataError(path, f"line {number} is not a question, a tab and a whole number")
        questions.append(Question(language=language, text=text, target=target))
    return questions


@cache
def _wording() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
