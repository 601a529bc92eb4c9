"""`phi4local bench --raw` beside llama-bench, with the same flags: both must measure the same.

    python -m benchmarks.bench_raw [--json benchmarks/results/bench-raw.json]

Each round runs both programs as a person would start them, one after the other, taking turns to begin: a
process that loads the model, warms up, and measures a prompt and an answer. Both use the same library files
and threads. The bar: the 95 % interval of the ratio lies inside 0.96 to 1.04, for prompts and for generation.
About ten minutes on two cores with the usual model of 1.28 billion weights.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks import pairs
from benchmarks.peers import Peer
from benchmarks.random_model import cached_gguf
from phi4local.engine.worker.process import child_environment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LOW, HIGH = 0.96, 1.04


class Agreement(pairs.Ratio):
    """A ratio that has to be near one: the whole interval between `LOW` and `HIGH`."""

    __slots__ = ()

    @property
    def met(self) -> bool:
        """Whether the interval is inside."""
        low, _, high = self.interval()
        return low >= LOW and high <= HIGH

    @property
    def decided(self) -> bool:
        """Whether more pairs would not change the verdict."""
        low, _, high = self.interval()
        enough = len(self.ours) >= pairs.FEWEST_PAIRS
        return enough and (self.met or high < LOW or low > HIGH)


def measure(command: Sequence[object]) -> tuple[float, float]:
    """Run one of the programs; return tokens per second of the prompt and of the answer."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env=child_environment()
    )
    if done.returncode:
        raise SystemExit(f"error: {command[0]} failed: {done.stderr[-500:]}")
    rows = json.loads(done.stdout)
    prompt, answer = (next(row["avg_ts"] for row in rows if row[name]) for name in ("n_prompt", "n_gen"))
    return prompt, answer


def compare(model: Path, options: argparse.Namespace) -> tuple[list[Agreement], list[str]]:
    """Run the pairs; return their ratios and the flags of both."""
    numbers = (options.prompt_tokens, options.generated_tokens, options.repeats)
    flags = ["-p", *numbers[:1], "-n", *numbers[1:2], "-r", *numbers[2:], "-t", options.threads]
    flags = [str(word) for word in [*flags, "-ngl", options.gpu_layers, "-o", "json", *options.flags.split()]]
    ours = [sys.executable, "-m", "phi4local", "bench", "--raw", "--no-save", "-m", model, *flags]
    theirs = [Peer.of(options, model).folder / "llama-bench", "-m", model, *flags]
    prompt, generation = Agreement("prompt", bar=LOW), Agreement("generation", bar=LOW)

    def round_(number: int) -> None:
        first, second = (ours, theirs) if number % 2 else (theirs, ours)
        found = {id(side): measure(side) for side in (first, second)}
        for ratio, mine, other in zip((prompt, generation), found[id(ours)], found[id(theirs)], strict=True):
            ratio.add(mine, other)

    measure(ours)  # reads the file into the system's cache
    pairs.run([prompt, generation], round_, options)
    return [prompt, generation], flags


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_options(parser, prompt_tokens=128, generated_tokens=32)
    parser.set_defaults(minutes=15)
    parser.add_argument("--repeats", type=int, default=2, help="of each test in a process")
    parser.add_argument("--flags", default="", help="more of both programs, such as '-fa on -d 256'")
    options = parser.parse_args()
    model = options.model or cached_gguf("1.3b")
    ratios, flags = compare(model, options)
    facts = {"command": "python -m benchmarks.bench_raw", "model": model.name, "flags": " ".join(flags)}
    pairs.write(options.json, ratios, bar_interval=[LOW, HIGH], **facts)
    sys.exit(not all(ratio.met for ratio in ratios))


if __name__ == "__main__":
    main()
