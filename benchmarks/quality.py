"""`phi4local quality` beside llama-perplexity: the same figures, and how long both take.

    python -m benchmarks.quality [--checkpoint FOLDER --text FILE] [--json benchmarks/results/quality.json]

Measures phi4-nano with its held-out text and, with `--checkpoint`, another model with another text. Each is
converted, read as a base, and compared at three quantizations, by both programs in alternating order, each
time in a process of its own. llama-perplexity is measured with `-b 512`, which reads one chunk at a time as
phi4local does, and as it is by default, with four chunks together. The bar is three digits of perplexity, KL
divergence, probability difference and agreement, in both ways.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import build_peers
from phi4local import __version__, catalog, hardware
from phi4local.bench.quality.measure import Reading, measure
from phi4local.bench.quality.subjects import find_subject
from phi4local.bench.quality.text import EMBEDDED_MODEL, write_held_out
from phi4local.convert import convert_to_several
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from phi4local.bench.quality.report import QualityRow

STEPS = ("Q8_0", "Q4_K_M", "Q2_K")
CONTEXT_TOKENS = 512
BATCHES = (512, 2048)
DIGITS = 3
COMPARED = ("perplexity", "kl", "rms_difference", "same_top")
_PAIR = r"\s*:\s*(-?[\d.]+)\s*%?\s*(?:±\s*([\d.]+))?"
LABELS = {
    "perplexity": r"Mean PPL\(Q\)",
    "stored_base_perplexity": r"Mean PPL\(base\)",
    "stored_log_ratio": r"Mean ln\(PPL\(Q\)/PPL\(base\)\)",
    "kl": "Mean    KLD",
    "kl 100.0": "Maximum KLD",
    "kl 99.9": "99.9%   KLD",
    "kl 99.0": "99.0%   KLD",
    "kl 95.0": "95.0%   KLD",
    "kl 90.0": "90.0%   KLD",
    "kl 50.0": "Median  KLD",
    "kl 10.0": "10.0%   KLD",
    "kl 0.0": "Minimum KLD",
    "mean_difference": "Mean    Δp",
    "difference 100.0": "Maximum Δp",
    "difference 99.0": "99.0%   Δp",
    "difference 75.0": "75.0%   Δp",
    "difference 50.0": "Median  Δp",
    "difference 1.0": " 1.0%   Δp",
    "difference 0.0": "Minimum Δp",
    "rms_difference": "RMS Δp ",
    "same_top": "Same top p",
}
"""phi4local's names and llama-perplexity's; behind a blank the per cent of a percentile."""
PER_CENT = ("mean_difference", "difference", "rms_difference", "same_top")
"""Figures that llama-perplexity prints in per cent."""

Figure = list[float | None]
"""A value and its error, or `None` for a value without one."""


@dataclass(frozen=True, slots=True)
class LlamaPerplexity:
    """llama-perplexity with the settings that both sides have.

    Args:
        program: the file.
        threads: CPU threads.
        batch: tokens of one decode; chunks of 512 are read `batch / 512` at a time.
    """

    program: Path
    threads: int
    batch: int

    def read(self, model: Path, text: Path, logits: Path, chunks: int | None) -> Figure:
        """Return a base's perplexity, and keep its log-probabilities."""
        limit = ("--chunks", chunks) if chunks else ()
        arguments = ("-m", model, "-f", text, *limit, "--kl-divergence-base", logits)
        said = self._run(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)", *arguments)
        return [float(number) for number in said.groups()]

    def compare(self, model: Path, logits: Path) -> dict[str, Figure]:
        """Return the figures of a comparison with a base's log-probabilities."""
        arguments = ("-m", model, "--kl-divergence", "--kl-divergence-base", logits)
        said = self._run(r"Same top p:.*", *arguments).string
        return figures(said)

    def _run(self, end: str, *arguments: object) -> re.Match[str]:
        shape = ("-c", CONTEXT_TOKENS, "-b", self.batch, "-t", self.threads, "-ngl", 0)
        command = list(map(str, (self.program, *arguments, *shape)))
        for _ in range(6):  # its log is written by a thread, and now and then lines are missing at the end
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if found := re.search(end, done.stdout + done.stderr):
                return found
        raise SystemExit("error: llama-perplexity printed too little")


def figures(text: str) -> dict[str, Figure]:
    """Return the numbers of llama-perplexity's report, as it prints them."""
    found: dict[str, Figure] = {}
    for name, label in LABELS.items():
        numbers = re.search(label + _PAIR, text)
        if numbers is None:
            raise SystemExit(f"error: llama-perplexity printed no line `{label}`")
        found[name] = [float(number) if number else None for number in numbers.groups()]
    return found


def figure(row: QualityRow, name: str) -> Figure:
    """Return phi4local's figure as llama-perplexity would print it."""
    kind, _, place = name.partition(" ")
    found = {**asdict(row)["divergence"], "perplexity": asdict(row.perplexity)}
    estimate = {"value": found[f"{kind}_percentiles"][place], "error": None} if place else found[name]
    factor = 100 if kind in PER_CENT else 1
    return [None if number is None else factor * number for number in (estimate["value"], estimate["error"])]


def equal_digits(mine: float, theirs: float) -> float:
    """Return how many digits agree, 9 at most. Example: 0.0729 and 0.07293 → 3.4."""
    return 9.0 if mine == theirs else min(9.0, -math.log10(abs(mine - theirs) / abs(theirs)))


@dataclass(slots=True)
class Side:
    """What one side measured: figures by quantization; seconds of base, comparisons and CPUs."""

    base: Figure
    steps: dict[str, dict[str, Figure]]
    base_seconds: list[float]
    step_seconds: list[float]
    cpu_seconds: float


def _cpu_seconds() -> float:
    """Return what this process and its ended children have computed."""
    return sum(os.times()[:4])


def ours(files: dict[str, Path], text: Path, chunks: int | None, threads: int) -> tuple[Side, float]:
    """Return phi4local's side, and the share of the time that is not spent in llama.cpp."""
    settings = LoadSettings(context_tokens=CONTEXT_TOKENS, gpu_layers=0, threads=threads)
    base, *subjects = (find_subject(str(path), settings) for path in files.values())
    rows, seconds, started, computed = [], [], time.perf_counter(), _cpu_seconds()
    for row in measure(subjects, Reading(text=text, chunks=chunks), base=base, count=len(files)):
        rows.append(row)
        seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
    found = {row.quantization: {name: figure(row, name) for name in LABELS} for row in rows[1:]}
    share = 1 - sum(row.reading_seconds for row in rows) / sum(row.seconds for row in rows)
    first: Figure = [rows[0].perplexity.value, rows[0].perplexity.error]
    return Side(first, found, [seconds[0]], seconds[1:], _cpu_seconds() - computed), share


def theirs(peer: LlamaPerplexity, files: dict[str, Path], text: Path, chunks: int | None) -> Side:
    """Return llama-perplexity's side."""
    base, *steps = files
    logits = text.with_suffix(".logits")
    started, computed = time.perf_counter(), _cpu_seconds()
    side = Side(peer.read(files[base], text, logits, chunks), {}, [time.perf_counter() - started], [], 0.0)
    for name in steps:
        started = time.perf_counter()
        side.steps[name] = peer.compare(files[name], logits)
        side.step_seconds.append(time.perf_counter() - started)
    side.cpu_seconds = _cpu_seconds() - computed
    logits.unlink()
    return side


def compare(checkpoint: Path, text: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return what both sides find of one model."""
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        files = {step: folder / f"{step}.gguf" for step in ("F16", *STEPS)}
        convert_to_several(checkpoint, files, kernels="ggml")
        copied = folder / "text"
        copied.write_bytes(text.read_bytes())
        peers = {batch: LlamaPerplexity(options.program, options.threads, batch) for batch in BATCHES}
        rounds = []
        for _ in range(options.repeats):
            mine = ours(files, copied, options.chunks, options.threads)
            rounds.append(
                (mine, {b: theirs(peer, files, copied, options.chunks) for b, peer in peers.items()})
            )
    return _facts(checkpoint, text, rounds)


def _facts(
    checkpoint: Path, text: Path, rounds: list[tuple[tuple[Side, float], dict[int, Side]]]
) -> dict[str, Any]:
    (mine, _), their = rounds[0]
    digits = {
        f"-b {batch}": {
            step: {
                name: round(
                    equal_digits(float(mine.steps[step][name][0] or 0), float(found[name][0] or 0)), 2
                )
                for name in COMPARED
            }
            for step, found in side.steps.items()
        }
        for batch, side in their.items()
    }
    facts: dict[str, Any] = {"model": checkpoint.name, "text_bytes": text.stat().st_size}
    facts["equal_digits"] = digits
    facts["base_equal_digits"] = {
        f"-b {batch}": round(equal_digits(float(mine.base[0] or 0), float(side.base[0] or 0)), 2)
        for batch, side in their.items()
    }
    facts["share_outside_llama_cpp"] = [round(share, 4) for (_, share), _ in rounds]
    facts["time_ratio"] = {
        f"-b {batch}": _time_ratio([side for (side, _), _ in rounds], [b[batch] for _, b in rounds])
        for batch in BATCHES
    }
    facts["phi4local"] = asdict(mine)
    facts["llama_perplexity"] = {f"-b {batch}": asdict(side) for batch, side in their.items()}
    return facts


def _time_ratio(mine: list[Side], their: list[Side]) -> dict[str, float]:
    """Return how long phi4local takes for each second of llama-perplexity, by the fastest of all rounds."""
    base = [min(side.base_seconds[0] for side in sides) for sides in (mine, their)]
    steps = [
        sum(min(side.step_seconds[i] for side in sides) for i in range(len(STEPS))) for sides in (mine, their)
    ]
    computed = [min(side.cpu_seconds for side in sides) for sides in (mine, their)]
    pairs = {"base": base, "comparisons": steps, "cpu": computed}
    return {name: round(pair[0] / pair[1], 3) for name, pair in pairs.items()}


def met(facts: dict[str, Any]) -> bool:
    """Return whether three digits agree everywhere."""
    steps = [found for ways in facts["equal_digits"].values() for found in ways.values()]
    digits = [value for found in steps for value in found.values()]
    return bool(min([*digits, *facts["base_equal_digits"].values()]) >= DIGITS)


def parse() -> argparse.Namespace:
    """Return the options, with llama-perplexity's place."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="another model, as safetensors")
    parser.add_argument("--text", type=Path, help="what it reads")
    parser.add_argument("--chunks", type=int, help="most chunks of each text")
    parser.add_argument("--repeats", type=int, default=2, help="how often both sides are measured")
    parser.add_argument("--threads", type=int, default=hardware.usable_cores())
    parser.add_argument("--folder", type=Path, help="for large files that are removed again")
    parser.add_argument("--json", type=Path, help="file for the results")
    options = parser.parse_args()
    found = build_peers.find()
    if found is None:
        raise SystemExit("error: no programs to compare with\nhint: python -m benchmarks.build_peers")
    options.program = found.program("llama-perplexity")
    return options


def main() -> None:
    """Parse, measure, print, write."""
    options = parse()
    with tempfile.TemporaryDirectory() as name:
        nano = catalog.find(EMBEDDED_MODEL).checkpoint_folder() or Path()
        held_out = write_held_out(Path(name)) or Path()
        measured = [compare(nano, held_out, options)]
        if options.checkpoint:
            measured.append(compare(options.checkpoint, options.text, options))
    for facts in measured:
        names = ("model", "equal_digits", "base_equal_digits", "time_ratio", "share_outside_llama_cpp")
        print(json.dumps({name: facts[name] for name in names}, indent=1))
    if options.json:
        head = {"phi4local": __version__, "machine": hardware.describe(), "threads": options.threads}
        limits = {"chunks": options.chunks, "context_tokens": CONTEXT_TOKENS}
        command = {"command": "python -m benchmarks.quality " + " ".join(_shown(sys.argv[1:]))}
        options.json.write_text(json.dumps(head | command | limits | {"models": measured}, indent=1) + "\n")
    sys.exit(not all(map(met, measured)))


def _shown(words: list[str]) -> list[str]:
    """Return a command line without the folders of this machine."""
    return [Path(word).name if Path(word).is_absolute() else word for word in words]


if __name__ == "__main__":
    main()
