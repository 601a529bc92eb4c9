"""MGSM: school mathematics in eleven languages.

Source: https://github.com/openai/simple-evals/blob/0637982/mgsm_eval.py; the questions are from
https://github.com/google-research/url-nlp/tree/main/mgsm (CC BY 4.0); Shi et al., arXiv 2210.03057.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache, partial
from pathlib import Path

from phi4local.errors import EvaluationDataError
from phi4local.evaluation.data import text_of
from phi4local.evaluation.task import Draw, Mark, Question, Task, asked

LANGUAGES = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
HINT = "MGSM's files are at https://github.com/google-research/url-nlp/tree/main/mgsm"
NUMBER = r"\d+\.?\d*"
"""simple-evals' expression; `\\d` also finds the digits of other scripts, which then equal no target."""


def read(folder: Path, draw: Draw, languages: tuple[str, ...] = LANGUAGES) -> list[Question]:
    """Read `mgsm_en.tsv` and so on: a question, a tab and a whole number a line.

    Raises:
        EvaluationDataError: a file is missing, or a line is something else.
    """
    questions = [
        question for language in languages for question in _read(folder / f"mgsm_{language}.tsv", language)
    ]
    return asked(questions, draw)


def _read(path: Path, language: str) -> list[Question]:
    if not path.is_file():
        raise EvaluationDataError(path, "there is no such file", hint=HINT)
    questions = []
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        text, tab, target = line.strip().partition("\t")
        if not tab or not re.fullmatch(r"-?[\d,]+", target):
            problem = f"line {number} is not a question, a tab and a whole number"
            raise EvaluationDataError(path, problem, hint=HINT)
        prompt = prompt_of(language, text)
        key = f"mgsm/{language}/{number}"
        questions.append(Question(key=key, prompt=prompt, target=target, group=language))
    return questions


def prompt_of(language: str, text: str) -> str:
    """Return the message that the model gets."""
    return _wording()[language]["prompt"].replace("{input}", text)


def extracted(language: str, answer: str) -> str:
    """Return the number that counts as given: the last one behind the last word for "answer".

    Example: `"Answer: 1,200 or $1,234.00."` gives `"1234.00"`; without that word it is empty.
    """
    word = _wording()[language]["answer"]
    if word not in answer:
        return ""
    numbers = re.findall(NUMBER, answer.rsplit(word, 1)[1].replace(",", ""))
    return numbers[-1].rstrip(".") if numbers else ""


def mark(question: Question, answer: str, _verdict: str | None = None) -> Mark:
    """Compare an answer's number with the target; zeros behind a decimal point do not count.

    Example: for the target `"18"`, `"Answer: 18.0"` is right and `"Answer: 18 or 19"` is not.
    """
    given = extracted(question.group, answer)
    value = given.rstrip("0").rstrip(".") if "." in given else given
    return Mark(score=float(value == question.target.replace(",", "")), extracted=given)


def task_of(languages: tuple[str, ...] = LANGUAGES) -> Task:
    """Return the task; the published figure belongs to all languages together."""
    return Task(
        name="mgsm",
        title="MGSM: school mathematics in eleven languages",
        read=partial(read, languages=languages),
        mark=mark,
        published={"phi-4": 0.806} if set(languages) == set(LANGUAGES) else {},
    )


@cache
def _wording() -> dict[str, dict[str, str]]:
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
