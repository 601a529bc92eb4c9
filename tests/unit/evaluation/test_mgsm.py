"""MGSM's marking against simple-evals' own verdicts, and the interval against its published values."""

import json
import random
from pathlib import Path

import pytest

from phi4local.errors import EvaluationDataError
from phi4local.evaluation.interval import resampled, wilson
from phi4local.evaluation.outcome import outcome, score
from phi4local.evaluation.task import Draw, Mark, Marked, Question, drawn
from phi4local.evaluation.tasks.mgsm import LANGUAGES, extracted, mark, prompt_of, read, task_of

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "mgsm.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", GOLDEN, ids=range(len(GOLDEN)))
def test_an_answer_is_marked_as_simple_evals_marks_it(row):
    question = Question(key="1", prompt="", group=row["language"], target=row["target"])
    assert extracted(row["language"], row["answer"]) == row["extracted"]
    assert mark(question, row["answer"]) == Mark(score=float(row["right"]), extracted=row["extracted"])


def test_the_golden_answers_have_both_verdicts_and_every_language():
    assert {row["right"] for row in GOLDEN} == {True, False}
    assert {row["language"] for row in GOLDEN} == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_braces_in_a_question_reach_the_model_as_they_are(language):
    prompt = prompt_of(language, "What is {x} of {input}?")
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


def test_the_interval_of_none_begins_at_0_and_that_of_all_ends_at_1():
    for count in range(1, 3000):
        assert wilson(0, count)[0] == 0.0 < wilson(0, count)[1] < 1.0
        assert wilson(count, count)[1] == 1.0 > wilson(count, count)[0] > 0.0


@pytest.mark.parametrize("line", ["no tab", "a question\t1.5", "a question\t"])
def test_a_line_that_is_no_question_is_named(tmp_path, line):
    (tmp_path / "mgsm_en.tsv").write_text(f"What is 1 plus 1?\t2\n{line}\n", encoding="utf-8")
    with pytest.raises(EvaluationDataError, match="line 2") as caught:
        read(tmp_path, Draw(), ("en",))
    assert "url-nlp" in caught.value.hint


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(EvaluationDataError, match=r"mgsm_sw\.tsv"):
        read(tmp_path, Draw(), ("sw",))


def questions_of(count):
    return [Question(key=str(number), prompt="", target="1") for number in range(count)]


def test_a_draw_is_repeatable_and_keeps_the_order():
    questions = questions_of(100)
    first = drawn(questions, 10, seed=3)
    assert first == drawn(questions, 10, seed=3) != drawn(questions, 10, seed=4)
    assert len(first) == 10
    assert first == sorted(first, key=lambda one: int(one.key))
    assert drawn(questions, 200, seed=3) == questions


def test_the_same_questions_are_drawn_as_by_simple_evals():
    """simple-evals draws with `random.Random(0).sample(examples, num_examples)`."""
    questions = questions_of(100)
    theirs = random.Random(0).sample(questions, 20)
    assert {one.key for one in drawn(questions, 20, seed=0)} == {one.key for one in theirs}


def marked_as(values):
    return [
        Marked(
            question=Question(key=key, prompt="", target=""), answer="", mark=Mark(score=value, extracted="")
        )
        for key, value in values
    ]


def test_the_score_is_the_share_of_golden_answers_that_are_right():
    found = score(marked_as((str(number), float(row["right"])) for number, row in enumerate(GOLDEN)))
    right = sum(row["right"] for row in GOLDEN)
    assert (found.answers, found.questions) == (len(GOLDEN), len(GOLDEN))
    assert found.share == pytest.approx(right / len(GOLDEN))
    assert found.interval == wilson(right, len(GOLDEN))


def test_repeats_of_a_question_do_not_make_the_interval_narrower():
    once = score(marked_as((str(number), float(number % 2)) for number in range(40)))
    five_times = score(marked_as((str(number % 40), float(number % 2)) for number in range(200)))
    width = once.interval[1] - once.interval[0]
    assert (five_times.questions, five_times.answers) == (40, 200)
    assert five_times.interval[1] - five_times.interval[0] == pytest.approx(width, rel=0.15)


def test_the_bootstrap_agrees_with_the_normal_distribution_for_many_values():
    values = [float(number % 4 == 0) for number in range(2000)]
    low, high = resampled(values)
    spread = 1.959964 * (0.25 * 0.75 / 2000) ** 0.5
    assert (low, high) == pytest.approx((0.25 - spread, 0.25 + spread), abs=0.003)
    assert resampled([]) == (0.0, 1.0)


def test_the_difference_is_measured_less_published():
    marked = marked_as((str(number), float(number < 70)) for number in range(100))
    found = outcome(task_of(), marked, model="microsoft/Phi-4:Q4_K_M", graded=False)
    middle, low, high = found.difference
    assert middle == pytest.approx(0.70 - 0.806)
    assert low < middle < high < 0
    assert outcome(task_of(("en",)), marked, model="phi-4", graded=False).difference is None
    assert outcome(task_of(), marked, model="phi4-nano", graded=False).published is None
