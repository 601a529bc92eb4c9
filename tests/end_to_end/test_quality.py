"""`phi4local quality` as a person types it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(scope="module")
def logits(run_cli, tmp_path_factory):
    """Log-probabilities of a base, kept by the command."""
    path = tmp_path_factory.mktemp("quality") / "base.logits"
    done = run_cli(
        ["quality", "phi4-nano", "--save-base", path, "--chunks", "2", "--gpu-layers", "0", "-t", "1"]
    )
    assert done.returncode == 0, done.stderr
    assert "2 chunks of 512 tokens, 510 scored" in done.stdout
    return path


def test_a_ladder_is_measured_with_every_column(run_cli, phi4local_home):
    command = [
        "quality",
        "phi4-nano",
        "--ladder",
        "-q",
        "Q8_0,q2_k",
        "--chunks",
        "2",
        "--output",
        "csv",
        "-t",
        "1",
    ]
    done = run_cli(command)
    assert done.returncode == 0, done.stderr
    base, best, worst = csv.DictReader(done.stdout.splitlines())
    assert [row["quantization"] for row in (base, best, worst)] == ["BF16", "Q8_0", "Q2_K"]
    assert (base["is_base"], base["kl"]) == ("True", "")
    assert float(best["kl"]) < 0.01 < 0.1 < float(worst["kl"])
    assert int(base["size_bytes"]) > int(best["size_bytes"]) > int(worst["size_bytes"])
    assert 8.5 < float(best["bits_per_weight"]) < 8.52
    assert all(
        float(row[name]) > 0 for row in (base, best, worst) for name in ("reading_rate", "writing_rate")
    )
    assert not list((phi4local_home / "models" / "unfinished").glob("convert-quality*"))


def test_one_comparison_is_shown_in_detail(run_cli, logits):
    done = run_cli(["quality", "phi4-nano:Q4_K_M", "--base-logits", logits, "--chunks", "1", "-t", "1"])
    assert done.returncode == 0, done.stderr
    assert all(
        word in done.stdout for word in ("KL DIVERGENCE", "SAME TOP", "median", "99.9 %", "correlation")
    )


def test_json_has_the_figures_and_how_they_were_made(run_cli, logits):
    done = run_cli(["quality", "phi4-nano:Q4_K_M", "--base-logits", logits, "--json", "-t", "1"])
    facts = json.loads(done.stdout)
    (row,) = facts["rows"]
    assert row["settings"]["kv_type"] == "f16"
    assert (row["chunks"], row["context_tokens"], row["scored_tokens"]) == (2, 512, 510)
    assert row["divergence"]["kl_percentiles"]["100.0"] >= row["divergence"]["kl"]["value"] > 0
    assert facts["machine"]


@pytest.fixture(scope="module")
def file(run_cli, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("quality") / "nano.gguf"
    assert run_cli(["convert", checkpoint, "-q", "Q8_0", "-o", path]).returncode == 0
    return path


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["{file}"], "error: setting `text` is not set", "--text FILE"),
        (["{file}", "--text", "nope.txt"], "error: `nope.txt`: no such file", "plain text"),
        (["{file}", "--text", "{logits}"], "is no UTF-8 text at byte", "UTF-8"),
        (["{file}", "--text", "{text}"], "two contexts of 512", "longer text"),
        (["{file}", "--text", "{text}", "-c", "4096"], "was trained on 2,048", "--help"),
        (["{file}", "--base-logits", "{text}"], "holds no log-probabilities", "--save-base"),
        (["{file}", "--base-logits", "{logits}", "-c", "256"], "was made with 512", "leave"),
        (["{file}", "--ladder", "--text", "{text}"], "is Q8_0", "checkpoint folder"),
        (["phi4-nano", "--ladder", "-q", "IQ1_S"], "needs an importance matrix", "--imatrix"),
        (["phi4-nano", "--ladder", "--keep", "{logits}"], "no such folder", "make it first"),
        (["phi4-nano", "--ladder", "--against", "phi4-nano"], "makes its own base", "--ladder"),
        (["phi4-nano", "--save-base", "{text}"], "it exists", "--force"),
        (["phi4-nano", "--chunks", "0"], "at least 1", "--help"),
        (["phi4-nano", "--output", "xml"], "'xml'", "jsonl"),
    ],
)
def test_what_cannot_be_measured_is_one_error_and_one_hint(
    run_cli, file, logits, tmp_path, arguments, message, hint
):
    text = tmp_path / "short.txt"
    text.write_text("Once upon a time there was a fox.\n" * 20)
    done = run_cli(["quality", *(word.format(file=file, text=text, logits=logits) for word in arguments)])
    assert done.returncode == 1
    error, advice = done.stderr.splitlines()[-2:]
    assert message in error
    assert advice.startswith("hint: ")
    assert hint in advice
    assert done.stdout == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_ctrl_c_leaves_neither_process_nor_file(phi4local_home):
    unfinished = phi4local_home / "models" / "unfinished"
    command = [
        sys.executable,
        "-m",
        "phi4local",
        "quality",
        "phi4-nano",
        "--against",
        "phi4-nano:F32",
        "-t",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size > 1e6 for path in unfinished.glob("convert-quality-*/.phi4local*")):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        children = [int(pid) for pid in _children(running.pid)]
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 130
    assert children
    assert not list(unfinished.glob("convert-quality*"))
    assert not any(_alive(pid) for pid in children)


def _children(pid):
    done = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_ladder_is_drawn_with_the_names_of_its_steps(run_cli, tmp_path):
    pytest.importorskip("matplotlib")
    chart = tmp_path / "ladder.svg"
    done = run_cli(
        ["quality", "phi4-nano", "--ladder", "-q", "Q8_0,Q4_0", "--chunks", "1", "--plot", chart, "-t", "1"]
    )
    assert done.returncode == 0, done.stderr
    drawn = chart.read_text("utf-8")
    assert all(word in drawn for word in ("Q8_0", "Q4_0", "KL divergence", "MB"))
    assert "BF16" not in drawn
    again = run_cli(["quality", "phi4-nano", "--plot", chart, "--chunks", "1"])
    assert again.returncode == 1
    assert "it exists\nhint: add `--force`" in again.stderr
