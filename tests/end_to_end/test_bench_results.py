"""What `bench` keeps, compares and draws, as a person types it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("native_library")

LLAMA_BENCH = Path(__file__).parents[1] / "golden" / "llama_bench.json"
QUICK = ["bench", "phi4-nano", "-p", "16", "-n", "4", "-r", "2"]


@pytest.fixture(scope="module")
def home(tmp_path_factory, phi4local_home):
    """A home with these tests' results alone, and with the model that others converted."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("models", "machines") if sys.platform != "win32" else ():
        (phi4local_home / name).mkdir(exist_ok=True)
        (folder / name).symlink_to(phi4local_home / name)
    return {"PHI4LOCAL_HOME": str(folder)}


def results_in(home):
    files = list(Path(home["PHI4LOCAL_HOME"]).glob("results/*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def test_results_are_kept_compared_and_shown_over_time(run_cli, home, tmp_path):
    files = [tmp_path / f"speed.{kind}" for kind in ("png", "svg", "html")]
    plots = [word for file in files for word in ("--plot", file)]
    first = run_cli([*QUICK, "-d", "0,16", *plots, "-o", "json"], env=home)
    assert first.returncode == 0, first.stderr
    (kept,) = results_in(home)
    printed = json.loads(first.stdout)
    assert [{**row, "key": 0, "model_digest": 0} for row in kept["rows"]] == [
        {**row, "key": 0, "model_digest": 0} for row in printed
    ]
    assert all(row["model_digest"].startswith("sampled-") for row in kept["rows"])
    if sys.platform == "linux":
        assert all(row["conditions"]["other_cores"] is not None for row in printed)
    assert all(file.stat().st_size > 5000 for file in files)

    second = run_cli([*QUICK, "-d", "0,16", "--compare", "last"], env=home)
    assert second.returncode == 0, second.stderr
    assert f"now against {kept['id']}" in second.stdout
    assert second.stdout.count("tg4 @ d16") == 2  # what was measured, and what changed
    assert [row["key"] for run in results_in(home) for row in run["rows"]] == 2 * [
        row["key"] for row in kept["rows"]
    ]

    history = run_cli(["bench", "--history"], env=home)
    assert history.returncode == 0
    for run in results_in(home):
        assert history.stdout.count(run["id"]) == 4
    shown = json.loads(run_cli(["bench", "--history", "phi4-nano", "--json"], env=home).stdout)
    assert [len(test["measurements"]) for test in shown] == [2] * 4
    assert shown[0]["measurements"][1]["change"] in ("faster", "slower", "in the spread")


def test_what_is_not_to_be_saved_is_not(run_cli, home):
    before = results_in(home)
    done = run_cli([*QUICK, "-n", "0", "--no-save", "--compare", LLAMA_BENCH], env=home)
    assert done.returncode == 0, done.stderr
    assert "no test of" in done.stderr  # 16 tokens are not what that file measured
    assert results_in(home) == before


def test_two_earlier_measurements_are_compared_without_a_model(run_cli, home, tmp_path):
    slower = [
        row | {"samples_ns": [2 * ns for ns in row["samples_ns"]]}
        for row in json.loads(LLAMA_BENCH.read_text())
    ]
    (tmp_path / "slower.jsonl").write_text("\n".join(json.dumps(row) for row in slower))
    words = ["bench", "--compare", LLAMA_BENCH, "--compare", tmp_path / "slower.jsonl"]
    found = json.loads(run_cli([*words, "--json"], env=home).stdout)
    assert [row["ratio_value"] for row in found["rows"]] == [pytest.approx(0.5)] * len(slower)
    assert "0.500" in run_cli(words, env=home).stdout


@pytest.mark.parametrize(
    ("words", "problem", "hint"),
    [
        (["--plot", "speed.gif"], "ends with no known format", ".png, .svg or .html"),
        (["--compare", "no-such-run"], "no result `no-such-run`", "--history"),
        (["--compare", "pyproject.toml"], "is no JSON", "llama-bench -o json"),
        (["--compare", "a", "--compare", "b", "--compare", "c"], "more than twice", "two runs"),
        (["--history", "--plot", "a.png"], "cannot stand beside", "draw while measuring"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_loaded(run_cli, home, words, problem, hint):
    done = run_cli([*QUICK, *words], env=home, cwd=Path(__file__).parents[2])
    assert done.returncode == 1
    assert done.stdout == ""
    assert problem in done.stderr
    assert hint in done.stderr
    assert done.stderr.count("\n") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_what_was_measured_before_ctrl_c_is_kept(home):
    before = len(results_in(home))
    words = ["-m", "phi4local", "bench", "phi4-nano", "-p", "0", "-n", "4,1500", "-r", "30", "-o", "jsonl"]
    with subprocess.Popen(
        [sys.executable, *words], env={**os.environ, **home}, stdout=subprocess.PIPE, text=True
    ) as child:
        first = json.loads(child.stdout.readline())
        child.send_signal(signal.SIGINT)
        child.stdout.read()
        assert child.wait(timeout=60) == 130
    found = results_in(home)
    assert len(found) == before + 1
    assert [row["samples_ns"] for row in found[-1]["rows"]] == [first["samples_ns"]]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(("terminal", "character"), [("xterm-256color", "█"), ("dumb", "#")])
def test_a_terminal_gets_bars_that_fit(home, terminal, character):
    import pexpect

    env = {**os.environ, **home, "TERM": terminal, "NO_COLOR": "1", "LANG": "C.UTF-8"}
    words = ["-m", "phi4local", *QUICK, "--no-save"]
    with pexpect.spawn(sys.executable, words, env=env, dimensions=(40, 80), encoding="utf-8") as child:
        child.expect(pexpect.EOF, timeout=120)
    lines = [line for line in child.before.splitlines() if character in line]
    assert len(lines) == 2
    assert max(map(len, lines)) < 80
    assert "\x1b[3" not in "".join(lines)
