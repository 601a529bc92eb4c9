"""A model that answers at random scores chance."""

from phi4local.evaluation.outcome import score
from phi4local.evaluation.run import Asking, Examination
from phi4local.evaluation.task import Draw
from phi4local.evaluation.tasks import chosen
from phi4local.runtime.remote.open import open_remote
from tests.random_model import RandomModel, random_model

QUESTIONS = 300


def test_a_random_model_scores_chance_within_its_interval(tmp_path):
    lines = ["Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3"]
    lines += [f"Question {number}?,right,x,y,z" for number in range(QUESTIONS)]
    (tmp_path / "gpqa_diamond.csv").write_text("\n".join(lines), encoding="utf-8")
    (task,) = chosen("gpqa")
    questions = task.read(tmp_path, Draw(repeats=1))
    marked = []
    with random_model() as address, open_remote(address) as model:
        Examination(model, task, Asking(seed=0, at_once=8)).run(enumerate(questions), marked.append)
    found = score(marked)
    assert [one.question for one in marked] == questions
    assert found.interval[0] < 0.25 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.11

    body = min(RandomModel.asked, key=lambda one: one["seed"])
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 1024, 0)
    assert body["messages"] == [{"role": "user", "content": questions[0].prompt}]
