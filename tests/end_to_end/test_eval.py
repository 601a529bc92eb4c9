"""`phi4local eval` as a person types it."""

import json
import re
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from phi4local.evaluation.task import Draw
from phi4local.evaluation.tasks import chosen
from tests.random_checkpoint import Size, write_random_checkpoint
from tests.random_model import RandomModel, random_model
from tests.served import ServedProcess

pytestmark = pytest.mark.usefixtures("native_library")
QUICK = ["-t", "1", "--gpu-layers", "0", "--max-tokens", "24"]
KEY = "a-long-random-word"


@pytest.fixture(scope="module")
def server(native_library, tmp_path_factory):
    """A real server that wants a key, with a model so small that it reads a grader's long prompt at once."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    write_random_checkpoint(folder, Size(vocabulary="nano", layers=1, context=4096, spread=0.2))
    with ServedProcess(folder, "-t", "1", env={"PHI4LOCAL_API_KEY": KEY}) as served:
        yield served.address


def rows_of(transcript):
    return [json.loads(line) for line in Path(transcript).read_text(encoding="utf-8").splitlines()]


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
        (["safety", "--ladder", "Q4_K_M,Q9_X"], "unknown quantization `Q9_X`", "did you mean"),
        (["safety", "--ladder", "Q4_K_M,,Q8_0"], "has a place without a name", "with commas"),
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


def test_a_server_is_asked_too_and_marks_without_a_grader_are_not_comparable(
    run_cli, phi4local_home, data, server
):
    done = run_cli(
        [
            *("eval", "math,safety", server, "--data", data),
            *("--limit", "2", "--max-tokens", "24"),
        ],
        env={"PHI4LOCAL_API_KEY": KEY},
    )
    assert done.returncode == 0, done.stderr
    assert "math was marked without a grader: not comparable" in done.stderr
    assert "safety" in done.stdout


def test_a_ladder_measures_each_quantization_and_goes_on_where_it_was(run_cli, phi4local_home, data):
    ladder = ["phi4-nano:Q4_K_M", "phi4-nano:Q8_0"]
    command = ["eval", "mgsm,safety", "phi4-nano", "--data", data, "--languages", "en,de", "--limit", "3"]
    command += ["--ladder", "Q4_K_M, Q8_0,Q4_K_M", *QUICK]
    done = run_cli([*command, "--json"])
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(one["model"], one["task"]) for one in found] == [
        (name, task) for name in ladder for task in ("mgsm", "safety")
    ]
    kept = {one["transcript"]: rows_of(one["transcript"]) for one in found}
    heads, answers = zip(*((head["settings"], rows) for head, *rows in kept.values()), strict=True)
    assert len({head["model"] for head in heads}) == 2  # the files' contents, not their names
    assert [len(rows) for rows in answers] == [3, 3, 3, 3]
    assert [row["prompt"] for row in answers[0]] == [row["prompt"] for row in answers[2]]

    # Stopped while the last quantization was asked: the table is complete all the same.
    last = Path(found[-1]["transcript"])
    lines = last.read_text(encoding="utf-8").splitlines(keepends=True)
    last.write_text("".join(lines[:2]), encoding="utf-8")
    again = run_cli(command)
    assert [line for line in again.stderr.splitlines() if line.startswith("note:")] == [
        f"note: {1 if path == str(last) else 3} of 3 answers are in {path}" for path in kept
    ]
    assert {path: rows_of(path) for path in kept} == kept
    shown = re.findall(
        r"^ (phi4-nano:\S+) +(\w+) +(\d+) +([\d.]+) +([\d.]+) to ([\d.]+) ", again.stdout, re.MULTILINE
    )
    assert shown == [
        (one["model"], one["task"], "3", *(f"{100 * part:.1f}" for part in (one["share"], *one["interval"])))
        for one in found
    ]


def test_a_grader_on_a_server_marks_as_its_own_words_say(run_cli, phi4local_home, data, server):
    """What it says is nonsense: no "Yes" is no, and no letter is not attempted."""
    command = ["eval", "math,simpleqa", "phi4-nano", "--data", data, "--grader", server]
    command += ["--repeats", "1", "--json", *QUICK]
    refused = run_cli(command, env={"PHI4LOCAL_GRADER_KEY": "another"})
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == "hint: set PHI4LOCAL_GRADER_KEY to the grader's key"
    done = run_cli(command, env={"PHI4LOCAL_GRADER_KEY": KEY})
    assert done.returncode == 0, done.stderr
    by_task = {one["task"]: one for one in json.loads(done.stdout)}
    assert all(one["comparable"] for one in by_task.values())
    ((_, solved), (_, told)) = (rows_of(by_task[task]["transcript"]) for task in ("math", "simpleqa"))
    (task,) = chosen("math")
    (question,) = task.read(data, Draw(repeats=1))
    client = openai.OpenAI(base_url=f"{server}/v1", api_key=KEY)
    said = client.chat.completions.create(
        model=client.models.list().data[0].id,
        messages=[{"role": "user", "content": task.grading(question, solved["answer"])}],
        temperature=0.5,
        seed=0,
        max_tokens=24,
    )
    assert solved["verdict"] == said.choices[0].message.content != ""
    assert solved["score"] == float(solved["verdict"].strip().lower() == "yes")
    letter = next((one for one in told["verdict"] if one in "ABC"), "C")
    assert (told["score"], told["metrics"]["incorrect"]) == (letter == "A", letter == "B")
    assert by_task["simpleqa"]["figures"]["not_attempted"] == (letter == "C")


def test_two_processes_do_not_write_to_the_same_answers(run_cli, phi4local_home):
    with random_model() as address, ThreadPoolExecutor(1) as pool:
        RandomModel.open.clear()
        command = ["eval", "safety", address, "--limit", "1"]
        first = pool.submit(run_cli, command)
        assert RandomModel.arrived.wait(60)
        second = run_cli(command)
        RandomModel.open.set()
        assert first.result().returncode == 0
        third = run_cli(command)
    error, hint = second.stderr.splitlines()
    assert (second.returncode, hint.partition(":")[0]) == (1, "hint")
    assert error.startswith("error: another process asks these questions already")
    assert "note: 1 of 1 answers are in" in third.stderr


HARMFUL = {
    "connects": "import socket; socket.create_connection(('127.0.0.1', {port}), 2).sendall(b'x')",
    "reads": "assert len(open({secret!r}).read()) > 3",
    "forks": "import os\n    while True: os.fork()",
    "eats memory": "bytes = [bytearray(2**28) for _ in range(64)]",
    "writes": "open('large', 'wb').write(bytes(2**24))",
    "writes outside": "open({secret!r}, 'w').write('gone')",
    "deletes": "import os; os.remove({secret!r})",
    "kills": "import os; os.kill(os.getppid(), 9)",
    "leaves": "import os; os._exit(0)",
}


@pytest.mark.skipif(sys.platform == "win32", reason="the operating system's limits are POSIX")
def test_a_harmful_solution_fails_its_own_task_and_no_other(run_cli, phi4local_home, tmp_path):
    """Between right solutions, through the whole command; and nothing of it stays or gets out."""
    secret, work = tmp_path / "secret.txt", tmp_path / "temporary"
    secret.write_text("the secret", encoding="utf-8")
    work.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        values = {"port": server.getsockname()[1], "secret": str(secret)}
        names = [one for name in HARMFUL for one in (name, f"right after {name}")]
        bodies = {name: HARMFUL.get(name, "pass").format(**values) for name in names}
        rows = [
            {
                "task_id": name,
                "prompt": f"def f(x):  # {name}\n",
                "entry_point": "f",
                "test": "def check(f):\n    assert f(1) == 2\n",
            }
            for name in names
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "HumanEval.jsonl").write_text(text, encoding="utf-8")

        def solution(question):
            name = re.search(r"def f\(x\):  # (.+)", question)[1]
            return f"```python\ndef f(x):\n    {bodies[name]}\n    return x + 1\n```"

        with random_model(solution) as address:
            command = ["eval", "humaneval", address, "--data", tmp_path, "--repeats", "1", "--json"]
            done = run_cli(command, env={"TMPDIR": str(work)}, cwd=work)
        assert done.returncode == 0, done.stderr
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    _, *answers = rows_of(json.loads(done.stdout)[0]["transcript"])
    assert {row["key"]: row["score"] for row in answers} == {
        name: float(name not in HARMFUL) for name in names
    }
    assert secret.read_text(encoding="utf-8") == "the secret"
    assert not list(work.iterdir())
    assert not [path for path in Path("/proc").glob("[0-9]*/cwd") if _link(path).startswith(str(work))]


def _link(path):
    try:
        return str(path.readlink())
    except OSError:  # it ended meanwhile, or is somebody else's
        return ""
