"""`phi4local bench` on the real library: what it says, what it refuses, and llama-bench beside it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from phi4local import gguf, planning
from phi4local.bench.matrix import Test as Case
from phi4local.bench.raw import Rounds
from phi4local.bench.row import LLAMA_BENCH_COLUMNS
from phi4local.bench.run import Bench
from phi4local.errors import NotEnoughMemoryError
from phi4local.hardware import Machine
from phi4local.settings import LoadSettings

CHECKOUT = Path(__file__).parents[2]
FIND = "from benchmarks import build_peers; print(build_peers.find().program('llama-bench'))"
MEASURED = {"test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts"}
OTHER_BUILD = {"build_number"}

pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture(scope="module")
def nano(run_cli):
    facts = run_cli(["show", "phi4-nano", "--json"])
    return Path(json.loads(facts.stdout)["path"])


@pytest.fixture(scope="module")
def llama_bench():
    environment = {name: value for name, value in os.environ.items() if name != "PHI4LOCAL_CACHE"}
    command = [sys.executable, "-c", FIND]
    found = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("python -m benchmarks.build_peers makes llama-bench")
    return found.stdout.strip()


@pytest.mark.parametrize(
    "flags",
    [
        "-p 32 -n 4 -pg 8,4 -d 0,16 -t 1,2",
        "-p 40 -n 0 -b 16,32 -ub 8 -fa 0,1 -nkvo 1 -nopo 1 --poll 0 -C 0x1 --cpu-strict 1",
        "-p 0 -n 4 -ctk q8_0 -ctv q8_0 -fa on -lm none --repack 0 --no-host 1 -embd 1 -ngl 0",
        "-p 8 -n 4 -d 8 -ngl -1 -mg 0 -sm layer --no-warmup --prio 0 -t 2",
    ],
)
def test_raw_says_of_itself_what_llama_bench_says(run_cli, llama_bench, nano, flags):
    words = ["-m", str(nano), *flags.split(), "-r", "2", "-o", "json"]
    words += [] if "-t" in words else ["-t", "1"]
    theirs = json.loads(subprocess.run([llama_bench, *words], capture_output=True, check=True).stdout)
    ours = json.loads(run_cli(["bench", "--raw", *words]).stdout)
    same = [name for name in LLAMA_BENCH_COLUMNS if name not in MEASURED | OTHER_BUILD]
    assert [{n: row[n] for n in same} for row in ours] == [{n: row[n] for n in same} for row in theirs]
    assert [len(row["samples_ns"]) for row in ours] == [len(row["samples_ns"]) for row in theirs]


def test_rows_of_chat_say_what_a_person_waits_for(run_cli):
    flags = ["-p", "32", "-n", "8", "-d", "0,64", "-r", "2", "--parallel", "1,3", "-o", "jsonl"]
    done = run_cli(["bench", "phi4-nano", *flags])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    names = ["pp32", "tg8", "pp32 @ d64", "tg8 @ d64"]
    assert [(row["parallel"], row["test"]) for row in rows] == [(n, name) for n in (1, 3) for name in names]
    for row in rows:
        assert len(row["samples_first_token_ns"]) == len(row["samples_ns"]) == 2
        assert min(row["load_seconds"], row["peak_memory_bytes"], row["sampling_ns"]) > 0
        assert len(row["samples_slowest_ts"]) == (2 if row["parallel"] > 1 else 0)
        assert (row["roofline_fraction"] or 0) > 0 if row["n_gen"] else row["roofline_fraction"] is None
        # All streams together read or write at most as fast as the slowest one times their number.
        together = row["samples_ts"] if row["n_prompt"] and row["parallel"] > 1 else []
        assert all(a >= b for a, b in zip(together, row["samples_slowest_ts"], strict=False))


@pytest.mark.parametrize(
    ("flags", "error", "hint"),
    [
        (["-p", "9-3"], "9-3", "1-8*2"),
        (["-p", "2048"], "2,048 tokens", "2,04"),
        (["-b", "64"], "n_batch", "--raw"),
        (["-ctk", "q8_0"], "type_v", "--kv"),
        (["--raw", "--parallel", "2"], "parallel", "--raw"),
        (["-o", "yaml"], "yaml", "jsonl"),
        (["--raw", "-C", "0xzz"], "cpu_mask", ""),
        (["--context", "64"], "64", "--context"),
        (["--require-gpu"], "GPU", ""),
        (["--rpc", "127.0.0.1:1", "--raw"], "rpc", ""),
        (["-ot", "nothing_fits=CPU"], "nothing_fits", ""),
        (["--raw", "-ot", "nothing_fits=CPU"], "nothing_fits", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_measured_is_one_line_and_a_hint(run_cli, flags, error, hint):
    done = run_cli(["bench", "phi4-nano", "-r", "1", *flags])
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note:")]
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 2)
    assert lines[0].startswith("error: ")
    assert error in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]


def test_what_does_not_fit_is_left_out_and_if_nothing_fits_refused(nano):
    def rows(tokens, available_bytes):
        machine = Machine(memory_bytes=2**34, available_bytes=available_bytes, cores=1)
        skipped = []
        bench = Bench(
            name="nano",
            path=nano,
            tests=[Case(n_prompt=count) for count in tokens],
            rounds=Rounds(repeats=1, warm_up=False),
            settings=LoadSettings(),
            open_model=None,
            skip=skipped.append,
            machine=machine,
        )
        return [row.n_prompt for row in bench.rows("raw")], skipped

    needed = [planning.fit(gguf.validate(nano), Machine(memory_bytes=2**34, available_bytes=2**34, cores=1),
                           context_tokens=tokens).memory_bytes for tokens in (16, 2048)]  # fmt: skip
    measured, skipped = rows([2048, 16], sum(needed) // 2)
    assert measured == [16]
    assert len(skipped) == 1
    assert "pp2048 left out" in skipped[0]
    with pytest.raises(NotEnoughMemoryError) as caught:
        rows([2048, 16], 2**20)
    assert caught.value.hint


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts like a terminal's")
@pytest.mark.parametrize("path", [[], ["--raw"]], ids=["chat", "raw"])
def test_what_was_measured_before_an_interrupt_is_printed(path):
    flags = ["-p", "8,1024", "-n", "0", "-r", "60", "--no-warmup", *path, "-o", "json", "-oe", "jsonl"]
    command = [sys.executable, "-m", "phi4local", "bench", "phi4-nano", *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        first = next(line for line in process.stderr if line.startswith(b"{"))  # notes may stand before it
        os.killpg(process.pid, signal.SIGINT)
        out, rest = process.communicate(timeout=60)
    assert json.loads(first)["test"] == "pp8"
    assert [row["test"] for row in json.loads(out)] == ["pp8"]
    assert b"stopped" in rest
    assert b"Traceback" not in rest
    assert process.returncode == 130
