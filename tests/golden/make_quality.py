"""Write what llama-perplexity measures of phi4-nano: tests/golden/quality.json.

    python -m tests.golden.make_quality

Needs the programs of `python -m benchmarks.build_peers`. The files are made by `phi4local convert`, which
writes what llama.cpp's converter and quantizer write (tests/unit/convert). With `-b 512` llama-perplexity
reads one chunk at a time, as phi4local does; by default it reads four together, which moves the fifth digit.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import build_peers
from phi4local.bench.quality.text import held_out_text

TESTS = Path(__file__).parents[1]
NANO = TESTS.parent / "models" / "phi4-nano"
CHUNKS = 12
STEPS = ("Q8_0", "Q4_K_M", "Q2_K")
PAIR = r"\s*:\s*(-?[\d.]+)\s*%?\s*(?:±\s*([\d.]+))?"
NAMES = {
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


def figures(text):
    """Return the numbers of llama-perplexity's report, as it prints them: [value, error or None]."""
    found = {}
    for name, label in NAMES.items():
        numbers = re.search(label + PAIR, text)
        found[name] = [float(number) if number else None for number in numbers.groups()]
    return found


def perplexity(program, *arguments, end="Final estimate"):
    """Run llama-perplexity and return everything that it said, up to the line that holds `end`."""
    command = list(map(str, [program, *arguments, "-t", 2, "-ngl", 0]))
    for _ in range(6):  # its log is written by a thread, and now and then lines are missing at the end
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        if end in done.stdout + done.stderr:
            return done.stdout + done.stderr
    raise SystemExit("error: llama-perplexity printed too little")


def comparison(program, model, logits, *arguments):
    """Return the figures of llama-perplexity's comparison of a model with a base's log-probabilities."""
    compare = ("--kl-divergence", "--kl-divergence-base", logits)
    return figures(perplexity(program, "-m", model, *arguments, *compare, end="Same top p:"))


def measure(program, folder, files, base, batch):
    """Return the base's perplexity and the figures of each step."""
    logits, text = folder / "base.logits", folder / "held-out.txt"
    text.write_bytes(held_out_text().encode())
    shape = ("-c", 512, "-b", batch)
    said = perplexity(
        program, "-m", base, "-f", text, *shape, "--chunks", CHUNKS, "--kl-divergence-base", logits
    )
    last = re.search(r"Final estimate: PPL = ([\d.]+) \+/- ([\d.]+)", said)
    steps = {name: comparison(program, path, logits, *shape) for name, path in files.items()}
    return {"base": [float(number) for number in last.groups()], "steps": steps}


def main():
    """Convert, run llama-perplexity both ways, write."""
    program = build_peers.find().program("llama-perplexity")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step in ("F32", *STEPS):
            command = [
                sys.executable,
                "-m",
                "phi4local",
                "convert",
                NANO,
                "-q",
                step,
                "-o",
                folder / f"{step}.gguf",
            ]
            subprocess.run(list(map(str, command)), check=True)
        files = {step: folder / f"{step}.gguf" for step in STEPS}
        found = {batch: measure(program, folder, files, folder / "F32.gguf", batch) for batch in (512, 2048)}
    (TESTS / "golden" / "quality.json").write_text(json.dumps({"chunks": CHUNKS, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
