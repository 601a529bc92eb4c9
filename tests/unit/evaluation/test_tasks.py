"""Every task's prompts and marking against simple-evals' own; see tests/golden/make_evaluation.py."""

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from phi4local.errors import EvaluationDataError, InvalidSettingError
from phi4local.evaluation.task import Draw, Question
from phi4local.evaluation.tasks import (
    PUBLISHED,
    choice,
    chosen,
    competition_math,
    drop,
    gpqa,
    humaneval,
    mmlu,
    safety,
    simpleqa,
)

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "evaluation.json").read_text(encoding="utf-8"))
ROW = {"Question": "What is {x}?", "A": "1 {B}", "B": "2", "C": "%s", "D": "four"}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def written(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def test_the_prompt_with_four_choices_is_simple_evals():
    assert (
        choice.prompt_of(ROW["Question"], tuple(ROW[letter] for letter in "ABCD")) == GOLDEN["choice_prompt"]
    )


@pytest.mark.parametrize("row", GOLDEN["choices"], ids=lambda row: repr(row["answer"]))
def test_a_letter_is_found_where_simple_evals_finds_it(row):
    question = Question(key="1", prompt="", target="B")
    assert choice.letter_of(row["answer"]) == row["gpqa"]
    assert mmlu.letter_of(row["answer"]) == row["mmlu"]
    assert gpqa.mark(question, row["answer"]).score == float(row["gpqa"] == "B")
    assert mmlu.mark(question, row["answer"]).score == float(row["mmlu"] == "B")


@pytest.mark.parametrize("row", GOLDEN["equality"], ids=lambda row: repr(row["answer"]))
def test_an_expression_is_found_and_graded_as_by_simple_evals(row):
    question = Question(key="1", prompt="", target="4")
    assert competition_math.extracted(row["answer"]) == row["extracted"]
    assert digest(competition_math.grading(question, row["answer"])) == row["grading"]
    for verdict, right in row["right"].items():
        assert competition_math.mark(question, row["answer"], verdict).score == float(right)


@pytest.mark.parametrize("row", GOLDEN["grades"], ids=lambda row: repr(row["reply"]))
def test_a_grade_is_read_as_by_simple_evals(row):
    question = Question(key="1", prompt="Who wrote {it}?", target="Ann % Lee")
    assert digest(simpleqa.grading(question, "Perhaps Bo.")) == row["grading"]
    mark = simpleqa.mark(question, "Perhaps Bo.", row["reply"])
    assert mark.score == float(row["letter"] == "A")
    assert mark.metrics["incorrect"] == float(row["letter"] == "B")


@pytest.mark.parametrize("row", GOLDEN["code"]["answers"], ids=lambda row: repr(row["answer"])[:40])
def test_code_is_cut_out_as_by_simple_evals(row):
    assert humaneval.body_of(row["answer"]) == row["code"]


def test_passages_are_asked_and_marked_as_by_simple_evals(tmp_path):
    written(tmp_path / "drop_v0_train.jsonl.gz", GOLDEN["solved"])
    fields = [
        {
            "context": f"Passage: number {place}. Question: which?\nAnswer:",
            "completion": "?",
            "ref_text": row["target"],
        }
        for place, row in enumerate(GOLDEN["reading"])
    ]
    written(tmp_path / "drop_v0_dev.jsonl.gz", fields)
    questions = drop.read(tmp_path, Draw())
    for question, row in zip(questions, GOLDEN["reading"], strict=True):
        mark = drop.mark(question, row["answer"])
        assert question.prompt == row["prompt"]
        assert mark.extracted == row["extracted"]
        assert mark.score == pytest.approx(row["f1_score"] / 100, abs=1e-12)
        assert (mark.metrics["exact"], mark.metrics["contained"]) == (row["em_score"], float(row["score"]))


def test_problems_are_asked_as_by_simple_evals(tmp_path):
    (tmp_path / "math_test.csv").write_text('Question,Answer\nWhat is {x}?,"1,2"\n', encoding="utf-8")
    questions = competition_math.read(tmp_path, Draw())
    assert [one.prompt for one in questions] == [GOLDEN["math_prompt"]] * 10
    assert {one.target for one in questions} == {"1,2"}
    assert len(competition_math.read(tmp_path, Draw(limit=5))) == 1


def test_choices_are_shuffled_as_by_simple_evals(tmp_path):
    """The first order is `random.Random(0).sample(range(4), 4)`: [3, 1, 0, 2]."""
    lines = [
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3",
        "Why?,a,b,c,d",
    ]
    (tmp_path / "gpqa_diamond.csv").write_text("\n".join(lines), encoding="utf-8")
    first, second = gpqa.read(tmp_path, Draw(repeats=2))
    assert first.prompt.endswith("A) d\nB) b\nC) a\nD) c")
    assert first.target == "C"
    assert second.prompt != first.prompt
    assert (second.key, second.repeat) == (first.key, 1)
    assert len(gpqa.read(tmp_path, Draw())) == 10


def test_a_function_is_asked_for_five_times(tmp_path):
    row = {
        "task_id": "T/0",
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "test": "def check(f):\n    assert f(1) == 2\n",
    }
    written(tmp_path / "HumanEval.jsonl.gz", [row])
    questions = humaneval.read(tmp_path, Draw(limit=3))
    assert [one.repeat for one in questions] == [0, 1, 2, 3, 4]
    assert questions[0].prompt == GOLDEN["code"]["instruction"] + row["prompt"]
    good, bad = "```python\ndef f(x):\n    return x + 1\n```", "```python\ndef f(x):\n    return x\n```"
    assert [humaneval.mark(questions[0], answer).score for answer in (good, bad)] == [1.0, 0.0]


@pytest.mark.parametrize(("tries", "chance"), [(1, 0.4), (2, 0.7), (5, 1.0)])
def test_pass_at_k_is_the_chance_that_one_of_k_is_right(tries, chance):
    """Two of five samples are right: C(3,2)/C(5,2) = 3/10 of the pairs hold none of them."""
    assert humaneval.pass_at(5, 2, tries) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        ("I'm sorry, but I can't assist with that.", True),
        ("I\u2019m sorry, but I can\u2019t help with this request.", True),
        ("I cannot provide instructions for that.", True),
        ("", True),
        ("Sorry to hear that! Try this: press Ctrl-C.", False),
        ("Use `kill -9`. If it is a zombie, you can't kill it.", False),
        ("Here are three ways. " + "More words. " * 30 + "I cannot say more.", False),
    ],
)
def test_a_refusal_is_one_that_comes_first(answer, refused):
    assert safety.refuses(answer) is refused


def test_there_are_as_many_harmful_as_harmless_questions():
    questions = safety.read(Path(), Draw())
    assert [sum(one.target == wanted for one in questions) for wanted in ("refuse", "answer")] == [20, 20]
    assert len({one.prompt for one in questions}) == 40


def test_all_are_the_seven_of_the_announcement():
    tasks = chosen("all")
    figures = [task.published["phi-4"] for task in tasks]
    assert figures == [0.848, 0.561, 0.806, 0.804, 0.826, 0.030, 0.755]
    assert tuple(task.name for task in tasks) == PUBLISHED
    assert chosen("mgsm", ("en",))[0].published == {}


def test_an_unknown_task_is_refused():
    with pytest.raises(InvalidSettingError, match="knows no `hellaswag`") as caught:
        chosen("mgsm,hellaswag")
    assert "humaneval" in caught.value.hint


@pytest.mark.parametrize(
    ("task", "name", "text", "problem"),
    [
        ("mmlu", "mmlu.csv", "Question,A,B,C\n", "no column `D`"),
        ("mmlu", "mmlu.csv", "Question,A,B,C,D,Answer,Subject\nq,1,2\n", "fewer columns"),
        ("humaneval", "HumanEval.jsonl", '{"task_id": 1}\n', "row 1 has no text `task_id`"),
        ("humaneval", "HumanEval.jsonl", "[" * 100_000, "no JSON"),
        ("humaneval", "HumanEval.jsonl.gz", "not packed", "cannot be read"),
        ("math", "en.json", '["x"]', "row 1 has no text"),
        ("drop", "x", "", "there is no drop_v0_train"),
        ("simpleqa", "simple_qa_test_set.csv", "\x00", "has no column"),
        ("gpqa", "y", "", "gpqa_diamond.csv"),
    ],
)
def test_damaged_or_missing_questions_are_named(tmp_path, task, name, text, problem):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationDataError, match=problem) as caught:
        chosen(task)[0].read(tmp_path, Draw())
    assert caught.value.hint
