"""Many generated GGUF files: does llama.cpp survive what the validator accepts?

    python -m tests.hostile.gguf_differential --count 100000 [--seed 1] [--state FILE]
        [--output benchmarks/results/hostile-differential.json]

Each file is judged by our validator and by `modelvet`; what ours accepts is loaded and run by our engine in a
child process that stays. Only an answer or one of our errors is right: a signal, a traceback and a hang are
written down with the two numbers that make the file again (`gguf_generator.generate(seed, number)`).

With `--state` a run that was ended goes on where it was. Nothing depends on how often that happens. `--again`
judges the files that broke the rule once more, with the code as it is now.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import importlib.metadata
import json
import os
import platform
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

import modelvet

from phi4local.errors import GGUFError
from phi4local.gguf import read_header
from tests.hostile.gguf_generator import generate

HANG_SECONDS = 60.0
ENGINE = "tests.hostile.gguf_engine_child"
MOST_FAILURES = 100
SAVE_EVERY = 500
# ggml reads a last tensor without its padding, tensors without elements, and keys of any length.
LAXER_THAN_MODELVET = ("MVET_V_TENSOR_DATA_EXTENT", "MVET_V_TENSOR_NE_RANGE", "MVET_V_KEY_LEN_CAP")


@dataclass
class State:
    """What was seen so far; `failures` hold number and outcome of the files that broke the rule."""

    seed: int
    files: int = 0
    seconds: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, object]] = field(default_factory=list)
    modelvet: dict[str, int] = field(default_factory=dict)
    only_modelvet_refuses: dict[str, int] = field(default_factory=dict)
    modelvet_examples: dict[str, int] = field(default_factory=dict)
    fixed: list[dict[str, object]] = field(default_factory=list)


class Child:
    """The process that loads files; a fresh one takes the place of one that ended."""

    def __init__(self, hang_seconds: float = HANG_SECONDS, module: str = ENGINE) -> None:
        self._hang_seconds, self._module = hang_seconds, module
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            cwd=Path(__file__).parents[2],
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, self._lines), daemon=True).start()

    @staticmethod
    def _read(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
        for line in process.stdout or ():
            lines.put(line.rstrip("\n"))
        lines.put("")

    def outcome(self, path: Path) -> str:
        """Return what became of a file; `DIED …` and `HANGS` stand for a process that did not answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
            said = self._lines.get(timeout=self._hang_seconds)
        except queue.Empty:
            said = "HANGS"
        except OSError:
            said = ""
        if said in ("", "HANGS"):
            self.close()
            said = said or f"DIED with {self._process.returncode}"
            self._start()
        return said

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def kind_of(outcome: str) -> str:
    """Return the part of an outcome that is counted: `fails cleanly: ModelLoadError`, for example."""
    words = outcome.split(": ")
    if words[0] in ("refused", "runs"):
        return words[0]
    return ": ".join(words[:2]) if words[0] == "fails cleanly" else words[0].split(" ")[0]


def cause_of(outcome: str) -> str:
    """Return a refusal without names and numbers, so that equal causes count together."""
    cause = outcome.removeprefix("refused: ")
    cause = re.sub(r"`[^`]*`?", "`…`", cause)
    return re.sub(r"-?\d[\d,.e+-]*", "N", cause)[:80]


def judge(state: State, child: Child, path: Path) -> str:
    """Make the next file, judge it, and count."""
    number = state.files
    data = generate(state.seed, number)
    path.write_bytes(data)
    outcome = child.outcome(path)
    _count(state.outcomes, kind_of(outcome))
    if outcome.startswith("refused"):
        _count(state.refusals, cause_of(outcome))
    elif kind_of(outcome) != "runs" and not outcome.startswith("fails cleanly"):
        state.failures.append({"number": number, "outcome": outcome[-1500:]})
    _compare_with_modelvet(state, data, path, number)
    state.files += 1
    return outcome


def _compare_with_modelvet(state: State, data: bytes, path: Path, number: int) -> None:
    """Count what the two checkers of the format say; modelvet knows nothing of networks and tokenizers."""
    report = modelvet.verify_gguf(data)
    ours = True
    try:
        read_header(path)
    except GGUFError:
        ours = False
    _count(state.modelvet, f"ours {'accepts' if ours else 'refuses'}, modelvet "
           f"{'accepts' if report.accepted else 'refuses'}")  # fmt: skip
    if ours and not report.accepted:
        name = str(report.violation_name)
        _count(state.only_modelvet_refuses, name)
        state.modelvet_examples.setdefault(name, number)


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def run(state: State, count: int, save: Path | None = None) -> State:
    """Judge files until `count` of the series are done, or too many broke the rule."""
    with Child() as child, tempfile.TemporaryDirectory(prefix="phi4local-differential-") as folder:
        path = Path(folder) / "any.gguf"
        started, before = time.monotonic(), state.seconds
        while state.files < count and len(state.failures) < MOST_FAILURES:
            judge(state, child, path)
            state.seconds = round(before + time.monotonic() - started, 1)
            if save is not None and (state.files % SAVE_EVERY == 0 or state.files == count):
                _save(state, save)
    return state


def judge_again(state: State) -> None:
    """Judge the files that broke the rule with the code as it is now; what is right now moves to `fixed`.

    A validator that refuses more than it did cannot have made another file of the series wrong.
    """
    still = []
    with Child() as child, tempfile.TemporaryDirectory(prefix="phi4local-differential-") as folder:
        path = Path(folder) / "any.gguf"
        for failure in state.failures:
            path.write_bytes(generate(state.seed, int(str(failure["number"]))))
            outcome = child.outcome(path).replace(str(path), path.name)
            good = kind_of(outcome) in ("refused", "runs") or outcome.startswith("fails cleanly")
            (state.fixed if good else still).append(failure | {"now": outcome})
    state.failures = still


def _save(state: State, path: Path) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
    temporary.replace(path)


def result(state: State) -> dict[str, object]:
    """Return what is kept: counts, failures, versions."""
    packages = ("llama-cpp-python", "modelvet")
    kinds = collections.Counter(
        {kind: sum(n for name, n in state.outcomes.items() if name.split(" ")[0] == kind)
         for kind in ("DIED", "HANGS", "TRACEBACK")}
    )  # fmt: skip
    return {
        "command": f"python -m tests.hostile.gguf_differential --count {state.files} --seed {state.seed}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in packages},
        "deaths": kinds["DIED"],
        "hangs": kinds["HANGS"],
        "tracebacks": kinds["TRACEBACK"],
        "accepted": state.files - state.outcomes.get("refused", 0),
        "kinds_of_refusal": len(state.refusals),
        **asdict(state)
        | {"refusals": dict(sorted(state.refusals.items(), key=lambda item: -item[1])[:60])},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, help="a file to go on from")
    parser.add_argument("--again", action="store_true", help="judge what broke the rule with the code of now")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    state = State(options.seed)
    if options.state and options.state.exists():
        state = State(**json.loads(options.state.read_text(encoding="utf-8")))
    run(state, options.count, options.state)
    if options.again:
        judge_again(state)
    text = json.dumps(result(state), indent=1) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    sys.exit(bool(state.failures))


if __name__ == "__main__":
    main()
