"""MGSM's marking against simple-evals' own verdicts, and the interval against its published values."""

import json
from pathlib import Path

import pytest

from phi4local.errors import EvaluationDataError
from phi4local.evaluation.interval import wilson
from phi4local.evaluation.mgsm import LANGUAGES, Question, read_questions
from phi4local.evaluation.run import Marked, drawn, score

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "mgsm.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", GOLDEN, ids=range(len(GOLDEN)))
def test_an_answer_is_marked_as_simple_evals_marks_it(row):
    question = Question(language=row["language"], text="", target=row["target"])
    assert question.extracted(row["answer"]) == row["extracted"]
    assert question.is_right(row["answer"]) is row["right"]


def test_the_golden_answers_have_both_verdicts_and_every_language():
    assert {row["right"] for row in GOLDEN} == {True, False}
    assert {row["language"] for row in GOLDEN} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_braces_in_a_question_reach_the_model_as_they_are(language):
    prompt = Question(language=language, text="What is {x} of {input}?", target="1").prompt
    assert prompt.endswith("\n\nWhat is {x} of {input}?")
    assert len(prompt) > 100 or language in {"ja", "zh"}


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_the_interval_is_wilsons(right, count, low, high):
    """The last row is worked out in R. G. Newcombe, Statistics in Medicine 17 (1998), table I."""
    assert wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_no_answer_says_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("line", ["no tab", "a question\t1.5", "a question\t"])
def test_a_line_that_is_no_question_is_named(tmp_path, line):
    (tmp_path / "mgsm_en.tsv").write_text(f"What is 1 plus 1?\t2\n{line}\n", encoding="utf-8")
    with pytest.raises(EvaluationDataError, match="line 2") as caught:
        read_questions(tmp_path, ("en",))
    assert "url-nlp" in caught.value.hint


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EvaluationDataError, match=r"mgsm_sw\.tsv"):
        read_questions(tmp_path, ("sw",))


def test_a_draw_is_repeatable_and_keeps_the_order():
    questions = [Question(language="en", text=str(number), target="1") for number in range(100)]
    first = drawn(questions, 10, seed=3)
    assert first == drawn(questions, 10, seed=3) != drawn(questions, 10, seed=4)
    assert len(first) == 10
    assert first == sorted(first, key=lambda one: int(one.text))
    assert drawn(questions, 200, seed=3) == questions


def test_the_score_is_the_share_of_golden_answers_that_are_right():
    asked = [Question(language=row["language"], text="", target=row["target"]) for row in GOLDEN]
    found = score(
        Marked(question=one, answer=row["answer"], right=one.is_right(row["answer"]))
        for one, row in zip(asked, GOLDEN, strict=True)
    )
    assert (found.right, found.count) == (sum(row["right"] for row in GOLDEN), len(GOLDEN))
    assert found.interval[0] < found.share < found.interval[1]
