"""The commands as a person types them, with the answers that transformers gave."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

EXPECTED = json.loads(
    (Path(__file__).parents[2] / "models" / "phi4-nano" / "expected-greedy.json").read_text()
)
SINGLE = [case for case in EXPECTED["greedy"] if len(case["messages"]) == 1]
SKY = next(case for case in SINGLE if case["name"] == "sky")

pytestmark = pytest.mark.usefixtures("native_library")


def test_nine_cases_have_one_message():
    assert len(SINGLE) == 9


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case["name"])
def test_run_prints_exactly_the_expected_text(run_cli, case):
    result = run_cli(["run", "phi4-nano", case["messages"][0]["content"], "--max-tokens", "64"])
    assert result.stdout == case["text"] + "\n"
    cut = "note: cut off after 64 tokens, at the limit of `--max-tokens`\n"
    assert result.stderr == ("" if case["stopped"] else cut)
    assert result.returncode == 0


def test_sampling_settings_without_an_option_of_their_own_reach_the_engine(run_cli):
    words = [
        "run",
        "phi4-nano",
        SKY["messages"][0]["content"],
        "-n",
        "4",
        "--json",
        "--sampling",
        "logprobs=2",
    ]
    first = SKY["generated_ids"][0]
    plain = json.loads(run_cli(words).stdout)
    assert [item["token"] for item in plain["logprobs"]] == SKY["generated_ids"][:4] == plain["token_ids"]
    assert all(len(item["top"]) == 2 for item in plain["logprobs"])
    biased = json.loads(run_cli([*words, "--sampling", f'logit_bias={{"{first}": -100}}']).stdout)
    assert first not in biased["token_ids"]
    wrong = run_cli(["run", "phi4-nano", "Hi", "--sampling", "temprature=1"])
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "error: setting `temprature` does not exist\nhint: known: temperature\n"


def test_a_conversation_through_a_pipe_prints_only_the_answers(run_cli):
    case = next(case for case in EXPECTED["greedy"] if len(case["messages"]) > 1)
    said = {
        role: [m["content"] for m in case["messages"] if m["role"] == role] for role in ("user", "assistant")
    }
    system = case["messages"][0]["content"]
    result = run_cli(["chat", "phi4-nano", "--system", system], input="\n".join(said["user"]) + "\n")
    assert result.stdout.splitlines() == [*said["assistant"], case["text"]]


def test_chat_without_a_model_uses_the_embedded_one_and_says_how_to_get_the_real_one(run_cli):
    result = run_cli(["chat"], input=SKY["messages"][0]["content"] + "\n")
    assert result.stdout == SKY["text"] + "\n"
    assert len(result.stderr.splitlines()) == 1
    assert "`phi4local pull phi-4`" in result.stderr


@pytest.mark.parametrize("quantization", ["Q4_K_M", "Q6_K", "F16"])
def test_a_tag_asks_for_a_quantization(run_cli, quantization):
    result = run_cli(["run", f"phi4-nano:{quantization}", "What is 3 plus 4?", "--json"])
    answer = json.loads(result.stdout)
    assert answer["text"] == "3 plus 4 is 7."
    assert answer["finish_reason"] == "stop"
    assert answer["generated_tokens"] == len(answer["token_ids"]) == 9


def test_the_prompt_comes_through_a_pipe(run_cli):
    assert run_cli(["run", "phi4-nano"], input="What is 3 plus 4?\n").stdout == "3 plus 4 is 7.\n"


def test_a_file_and_a_folder_are_models_too(run_cli, checkpoint, tmp_path):
    output = tmp_path / "my model.gguf"
    made = run_cli(["convert", str(checkpoint), "-q", "q8_0", "-o", str(output)])
    assert made.returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["my model.gguf"]
    for model in (str(output), str(checkpoint)):
        assert run_cli(["run", model, "What is 3 plus 4?"]).stdout == "3 plus 4 is 7.\n"


def test_a_folder_is_converted_once_and_remembered(run_cli, checkpoint, tmp_path):
    env = {"PHI4LOCAL_HOME": str(tmp_path)}
    for _ in range(2):
        run_cli(["run", f"{checkpoint}", "Hello"], env=env)
        made = list((tmp_path / "models").rglob("*.gguf"))
        assert len(made) == 1
        written = made[0].stat().st_mtime_ns
    assert made[0].stat().st_mtime_ns == written
    listed = json.loads(run_cli(["list", "--json"], env=env).stdout)
    assert ("phi4-nano", "ready") in {(row["name"], row["state"]) for row in listed}


def test_show_reads_the_facts_without_loading(run_cli):
    facts = json.loads(run_cli(["show", "phi4-nano", "--json"]).stdout)
    assert (facts["layers"], facts["heads"], facts["kv_heads"], facts["context_tokens"]) == (8, 8, 2, 2048)
    assert facts["parameters"] == 10_227_968
    assert facts["tensor_types"] == {"Q8_0": 34, "F32": 17}
    assert "published" in facts["chat_template"]


def test_bench_measures_both_paths(run_cli):
    result = run_cli(["bench", "phi4-nano", "--both", "-p", "32", "-n", "8", "-r", "2", "--json"])
    rows = json.loads(result.stdout)
    tests = [("chat", 32, 0), ("chat", 0, 8), ("raw", 32, 0), ("raw", 0, 8)]
    assert [(row["path"], row["n_prompt"], row["n_gen"]) for row in rows] == tests
    for row in rows:
        assert len(row["samples_ns"]) == 2
        assert min(row["avg_ts"], row["peak_memory_bytes"], row["load_seconds"]) > 0
    table = run_cli(["bench", "phi4-nano", "-p", "16", "-n", "4", "-r", "1"]).stdout
    assert re.search(r"(?m)^ *TEST +tok/s +MEDIAN +FIRST TOKEN", table)
    assert re.search(r"(?m)^ *pp16 +[\d,.]+ ± 0\.00", table)


def test_version_and_completion(run_cli):
    assert run_cli(["--version"]).stdout.startswith("phi4local 0.")
    # Which shell it is Typer asks the processes above, among which a test need not have one.
    shown = run_cli(["--show-completion", "bash"], env={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert shown.returncode == 0
    program = str(Path(sys.executable).with_name("phi4local"))
    env = os.environ | {
        "_PHI4LOCAL_COMPLETE": "complete_bash",
        "COMP_WORDS": "phi4local show ph",
        "COMP_CWORD": "2",
    }
    offered = subprocess.run([program], env=env, capture_output=True, text=True, timeout=60, check=False)
    manifests = (Path(__file__).parents[2] / "models").glob("*.toml")
    assert offered.stdout.split() == sorted(path.stem for path in manifests)


def test_help_loads_nothing_heavy():
    script = """
import sys
from phi4local.cli import main
code = main(["--help"])
heavy = {"numpy", "llama_cpp", "gguf", "huggingface_hub", "jinja2", "asyncio", "torch"}
heavy = (heavy | {"fastapi", "starlette", "uvicorn", "pydantic"}) & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy or code else 0)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
@pytest.mark.parametrize(
    "arguments", ["list", "--help", "--version", "run phi4-nano 'Tell me a story.' </dev/null"]
)
def test_a_reader_that_has_enough_is_no_error(arguments):
    command = f"set -o pipefail; {shlex.quote(sys.executable)} -m phi4local {arguments} | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_workshop_is_the_same_command(checkpoint, tmp_path):
    output = tmp_path / "out.gguf"
    subprocess.run(
        [sys.executable, "-m", "convert", str(checkpoint), "-q", "Q4_0", "-o", str(output)],
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        timeout=60,
        env=os.environ,
    )
    assert output.read_bytes()[:4] == b"GGUF"


def test_an_unknown_quantization_is_answered_with_all_that_there_are(run_cli, checkpoint, tmp_path):
    from phi4local.convert import QUANTIZATIONS

    shown = run_cli(["convert", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    assert "CHECKPOINT-QUANTIZATION.gguf" in shown
    refused = run_cli(["convert", str(checkpoint), "-q", "nope", "-o", str(tmp_path / "x.gguf")])
    assert all(name in refused.stderr for name in QUANTIZATIONS)
