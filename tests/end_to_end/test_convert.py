"""`phi4local convert` as a person types it: several files, the plan, what is said, and Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest

from tests.random_checkpoint import Size, write_random_checkpoint

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_random_checkpoint(tmp_path_factory.mktemp("c") / "tune", Size(hidden=256, feed_forward=256))


def test_several_files_in_a_folder(small, tmp_path, run_cli):
    done = run_cli(["convert", small, "-q", "q4_k_m,Q8_0", "-o", tmp_path])
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tune-Q4_K_M.gguf", "tune-Q8_0.gguf"]
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert re.search(r"tune-Q4_K_M\.gguf: [\d.]+ kB, [\d.]+ bits per weight \(.*Q6_K.*\)", lines[0])
    assert re.search(r"tune-Q8_0\.gguf: ", lines[1])
    assert re.search(r"took [\d.]+ s: (reading|quantizing|writing) was the limit, \d+%", lines[2])
    assert lines[-1].startswith("next: phi4local run ")
    assert "tune-Q4_K_M.gguf" in lines[-1]


def test_the_next_command_works(small, tmp_path, run_cli):
    done = run_cli(["convert", small, "-q", "Q8_0", "-o", tmp_path / "a model.gguf"])
    assert f"next: phi4local run '{tmp_path}/a model.gguf' " in done.stderr
    answer = run_cli(["run", tmp_path / "a model.gguf", "Hello", "--max-tokens", "4"])
    assert answer.returncode == 0, answer.stderr


def test_several_need_a_folder(small, tmp_path, run_cli):
    done = run_cli(["convert", small, "-q", "Q4_0,Q8_0", "-o", tmp_path / "m.gguf"])
    assert (done.returncode, done.stdout) == (1, "")
    assert "is no folder" in done.stderr


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_plan_fits_the_terminal(columns, small, tmp_path, run_cli):
    done = run_cli(["convert", small, "-q", "Q4_K_M", "--dry-run"], env={"COLUMNS": columns}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    rows = [line for line in done.stdout.splitlines() if ".weight" in line]
    assert len(rows) == 3 + 6 * 2
    assert all(len(line.rstrip()) <= 80 for line in done.stdout.splitlines())
    assert "nothing was written" in done.stderr


def test_the_plan_for_programs(small, tmp_path, run_cli):
    done = run_cli(["convert", small, "-q", "Q4_K_M,F16", "--dry-run", "--json"], cwd=tmp_path)
    plans = json.loads(done.stdout)
    assert [plan["quantization"] for plan in plans] == ["Q4_K_M", "F16"]
    made = run_cli(["convert", small, "-q", "F16", "-o", tmp_path / "m.gguf"])
    assert made.returncode == 0
    assert (tmp_path / "m.gguf").stat().st_size == plans[1]["size_bytes"]
    assert {tensor["type"] for tensor in plans[1]["tensors"]} == {"F16", "F32"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-q", "IQ2_XS"], "--imatrix"),
        (["-q", "TQ1_0"], "--force"),
        (["-q", "Q4_K_M", "--imatrix", "nowhere.gguf"], "--imatrix"),
        (["-q", "Q4_K_M", "--tensor-type", "ffn_up"], "REGEX=TYPE|EXPRESSION=TYPE"),
        (["-q", "Q4_K_M", "--tensor-type", "(=Q8_0"], "is no expression"),
        (["-q", "Q4_K_M", "--tensor-type", "ffn++=Q8_0"], "llama-quantize"),
        (["-q", "Q4_K_M", "--output-tensor-type", "Q9_K"], "types are"),
        (["-q", "Q4_K_M", "--split-max-size", "two"], "2G"),
        (["-q", "Q4_K_M", "--split-max-size", "1K"], "a tensor is not cut"),
        (["-q", "Q4_K_M", "--memory", "10M"], "setting `memory`"),
    ],
)
def test_refused_before_any_work(options, says, small, tmp_path, run_cli):
    done = run_cli(["convert", small, *options, "-o", tmp_path], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"], done.stderr
    assert re.search(says, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_run_answers_from_a_model_in_parts(checkpoint, tmp_path, run_cli):
    made = run_cli(["convert", checkpoint, "-q", "Q8_0", "--split-max-size", "4M", "-o", tmp_path / "m.gguf"])
    assert made.returncode == 0, made.stderr
    parts = sorted(tmp_path.iterdir())
    assert len(parts) > 2
    answer = run_cli(["run", parts[0], "What is 3 plus 4?"])
    assert answer.stdout == "3 plus 4 is 7.\n", answer.stderr
    refused = run_cli(["run", parts[1], "What is 3 plus 4?"])
    assert refused.returncode == 1
    assert parts[0].name in refused.stderr


def test_a_name_from_a_gguf_source(small, tmp_path, run_cli):
    assert run_cli(["convert", small, "-q", "F16", "-o", tmp_path / "tune-F16.gguf"]).returncode == 0
    assert run_cli(["convert", "tune-F16.gguf", "-q", "Q4_0"], cwd=tmp_path).returncode == 0
    assert (tmp_path / "tune-Q4_0.gguf").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
@pytest.mark.parametrize(("columns", "quantization"), [(80, "IQ4_NL"), (120, "IQ4_XS")])
def test_ctrl_c_cleans_up(columns, quantization, checkpoint, tmp_path, phi4local_home):
    pexpect = pytest.importorskip("pexpect")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "phi4local", "convert", str(checkpoint), "-q", quantization, "-o", str(tmp_path), "-t", "1"],
        env={**os.environ, "TERM": "xterm-256color"},
        encoding="utf-8",
        dimensions=(24, columns),
        timeout=60,
    )
    child.expect(r"output|token_embd|blk\.")  # the bar names the tensor
    child.expect(r"MB")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.wait()
    assert (child.exitstatus, child.signalstatus) == (130, None)
    assert list(tmp_path.iterdir()) == []
