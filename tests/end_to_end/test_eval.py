"""`phi4local eval` as a person types it."""

import json
from pathlib import Path

import pytest

from tests.random_model import random_model
from tests.served import ServedProcess

pytestmark = pytest.mark.usefixtures("native_library")
QUICK = ["-t", "1", "--gpu-layers", "0", "--max-tokens", "24"]


@pytest.fixture
def data(tmp_path):
    """One or two questions of every task, written for this test."""
    for language, text in (
        ("en", "What is 3 plus 4?\t7\nWhat is 1 plus 1?\t2\n"),
        ("de", "Was ist 3 plus 4?\t7\n"),
    ):
        (tmp_path / f"mgsm_{language}.tsv").write_text(text, encoding="utf-8")
    choices = "Question,A,B,C,D,Answer,Subject\nWhat is 1 plus 1?,1,2,3,4,B,arithmetic\n"
    (tmp_path / "mmlu.csv").write_text(choices, encoding="utf-8")
    shuffled = (
        "Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3\nWhy?,a,b,c,d\n"
    )
    (tmp_path / "gpqa_diamond.csv").write_text(shuffled, encoding="utf-8")
    (tmp_path / "math_test.csv").write_text("Question,Answer\nWhat is 3 plus 4?,7\n", encoding="utf-8")
    (tmp_path / "simple_qa_test_set.csv").write_text("problem,answer\nWho are you?,Phi\n", encoding="utf-8")
    test = "def check(f):\n    assert f(1) == 2\n"
    row = {"task_id": "T/0", "prompt": "def f(x):\n", "entry_point": "f", "test": test}
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    row = json.dumps({"context": "Passage: 1. Question: what?\nAnswer:", "completion": "1", "ref_text": "1"})
    for part in ("train", "dev"):
        (tmp_path / f"drop_v0_{part}.jsonl").write_text(f"{row}\n", encoding="utf-8")
    return tmp_path


def test_every_question_is_asked_once_and_kept(run_cli, phi4local_home, data):
    command = ["eval", "mgsm", "phi4-nano", "--data", data, "--languages", "en,de", "--json", *QUICK]
    done = run_cli(command)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["task"], found["questions"], found["published"]) == ("mgsm", 3, None)
    assert found["groups"]["en"]["questions"] == 2
    transcript = Path(found["transcript"])
    lines = transcript.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["key"] for line in lines[1:]] == ["mgsm/en/1", "mgsm/en/2", "mgsm/de/1"]
    assert all(json.loads(line)["answer"] for line in lines[1:])

    # A run that was killed in the middle of a line: only what is missing is asked again.
    transcript.write_text("\n".join(lines[:3]) + "\n" + lines[3][:40], encoding="utf-8")
    again = run_cli(command)
    assert "2 of 3 answers are in" in again.stderr
    assert json.loads(again.stdout) == [found]
    last = transcript.read_text(encoding="utf-8").splitlines()
    assert last[:3] == lines[:3]
    assert last[-1] == lines[3]


def test_all_tasks_run_to_their_end(run_cli, phi4local_home, data):
    for language in ("bn", "es", "fr", "ja", "ru", "sw", "te", "th", "zh"):
        (data / f"mgsm_{language}.tsv").write_text("1+1?\t2\n", encoding="utf-8")
    with random_model() as address:
        done = run_cli(["eval", "all", address, "--data", data, "--grader", address])
    assert done.returncode == 0, done.stderr
    for name in ("mmlu", "gpqa", "mgsm", "math", "humaneval", "simpleqa", "drop"):
        assert f" {name} " in done.stdout, done.stdout
    assert "95 % INTERVAL" in done.stdout
    assert "humaneval pass@5: 0.0 %" in done.stdout
    assert "not comparable" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem", "hint"),
    [
        (["mgsm", "--languages", "fr"], "mgsm_fr.tsv", "url-nlp"),
        (["simpleqa"], "simpleqa cannot be marked without one", "--grader"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_loading(run_cli, data, arguments, problem, hint):
    task, *rest = arguments
    done = run_cli(["eval", task, "phi4-nano", "--data", data, *rest])
    assert done.returncode == 1
    error, second = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert problem in error
    assert second.startswith("hint: ")
    assert hint in second


def test_a_server_is_asked_too_and_marks_without_a_grader_are_not_comparable(run_cli, phi4local_home, data):
    with ServedProcess("phi4-nano") as server:
        done = run_cli(
            [
                "eval",
                "math,safety",
                f"{server.address}#phi4-nano",
                "--data",
                data,
                "--limit",
                "2",
                "--max-tokens",
                "24",
            ]
        )
    assert done.returncode == 0, done.stderr
    assert "math was marked without a grader: not comparable" in done.stderr
    assert "safety" in done.stdout
