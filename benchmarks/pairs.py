"""Two sides measured in alternating rounds, and what their ratio is known to be.

A round gives one pair; the ratio of a pair is free of what slows the machine for both. Of the pairs' ratios
the median is given with its 95 % interval by order statistics (Conover, Practical Nonparametric Statistics,
section 3.2): it reaches from the k-th smallest to the k-th largest ratio, with the largest k for which a fair
coin thrown n times shows fewer than k heads with a probability of at most 2.5 %. It assumes no distribution,
and a round that something disturbed moves it by one place at most. The worse end of the interval counts.
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from phi4local import __version__, hardware

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

FEWEST_PAIRS = 20


@dataclass(slots=True)
class Ratio:
    """Ours divided by theirs, and the least that it has to be.

    Example: `Ratio("generation", bar=0.97)` after twenty pairs (24.1, 24.3), … has the interval
    (0.981, 0.992, 1.004): the bar is met, since 0.981 is at least 0.97.
    """

    name: str
    bar: float
    unit: str = "tokens/s"
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def add(self, ours: float, theirs: float) -> None:
        """Write down one pair."""
        self.ours.append(ours)
        self.theirs.append(theirs)

    def interval(self) -> tuple[float, float, float]:
        """Return lower end, median and upper end of the ratio."""
        return median_interval([a / b for a, b in zip(self.ours, self.theirs, strict=True)])

    @property
    def met(self) -> bool:
        """Whether the lower end reaches the bar."""
        return self.interval()[0] >= self.bar

    @property
    def decided(self) -> bool:
        """Whether more pairs would not change the verdict: the bar is outside the interval."""
        low, _, high = self.interval()
        return len(self.ours) >= FEWEST_PAIRS and (low >= self.bar or high < self.bar)

    def to_mapping(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        low, middle, high = self.interval()
        return {
            "name": self.name,
            "bar": self.bar,
            "ratio": round(middle, 4),
            "interval_95": [round(low, 4), round(high, 4)],
            "met": self.met,
            "pairs": len(self.ours),
            "unit": self.unit,
            "ours": [round(value, 4) for value in self.ours],
            "theirs": [round(value, 4) for value in self.theirs],
        }

    def row(self) -> str:
        """Return one line of a table."""
        low, middle, high = self.interval()
        sides = f"{statistics.median(self.ours):10.2f} {statistics.median(self.theirs):10.2f} {self.unit}"
        return (
            f"{self.name:44} {sides:32} {middle:6.3f} [{low:.3f}, {high:.3f}] "
            f"bar {self.bar:<5} {verdict(met=self.met)} ({len(self.ours)} pairs)"
        )


@dataclass(slots=True)
class Limit:
    """One number and the most (or the least) that it may be."""

    name: str
    value: float
    bar: float
    unit: str
    at_least: bool = False
    samples: list[float] = field(default_factory=list)

    @property
    def met(self) -> bool:
        """Whether the number keeps to the bar."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def to_mapping(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        kind = "at least" if self.at_least else "at most"
        values = [round(sample, 6) for sample in self.samples]
        return {
            "name": self.name,
            "value": round(self.value, 6),
            "unit": self.unit,
            "bar": f"{kind} {self.bar}",
            "met": self.met,
            "samples": values,
        }

    def row(self) -> str:
        """Return one line of a table."""
        sign = "≥" if self.at_least else "≤"
        return (
            f"{self.name:44} {self.value:10.3f} {self.unit:21} bar {sign} {self.bar} {verdict(met=self.met)}"
        )


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return lower end, median and upper end of the median's 95 % interval.

    Example: of twenty values the 6th smallest, the median and the 6th largest; of fewer than six, which
    cannot bear it, the smallest and the largest.
    """
    ordered = sorted(values)
    count, place, below = len(ordered), 0, 0.5 ** len(ordered)
    while below <= 0.025 and place < count // 2:
        place += 1
        below += math.comb(count, place) * 0.5**count
    edge = max(place - 1, 0)
    return ordered[edge], statistics.median(ordered), ordered[count - 1 - edge]


def verdict(*, met: bool) -> str:
    """Return the word for a table."""
    return "met" if met else "NOT MET"


def run(ratios: Sequence[Ratio], round_: Callable[[int], None], options: argparse.Namespace) -> None:
    """Run rounds until all ratios are decided, and `--most-pairs` or `--minutes` at most.

    Args:
        ratios: what the rounds add to.
        round_: measures one pair of each; gets the round's number, by whose parity sides take turns to begin.
        options: `pairs`, `most_pairs` and `minutes`.
    """
    started = time.monotonic()
    for number in range(max(options.pairs, options.most_pairs)):
        round_(number)
        enough = number + 1 >= options.pairs and all(ratio.decided for ratio in ratios)
        if enough or time.monotonic() - started > 60 * options.minutes:
            break
        print(f"\r{number + 1} pairs ", end="", file=sys.stderr, flush=True)
    print("\r", end="", file=sys.stderr)
    for ratio in ratios:
        print(ratio.row(), flush=True)


def alternate(ours: Callable[[], object], theirs: Callable[[], object]) -> Callable[[int], None]:
    """Return a round in which the two sides take turns to begin."""

    def round_(number: int) -> None:
        for side in (ours, theirs) if number % 2 else (theirs, ours):
            side()

    return round_


def add_options(
    parser: argparse.ArgumentParser, *, prompt_tokens: int = 256, generated_tokens: int = 32
) -> None:
    """Add the options that every comparison has."""
    from pathlib import Path

    parser.add_argument(
        "--model", type=Path, help="a GGUF file; a random model of 1.28 billion weights if not"
    )
    parser.add_argument(
        "--peers", type=Path, help="folder of llama.cpp's programs; see benchmarks.build_peers"
    )
    parser.add_argument("--pairs", type=int, default=FEWEST_PAIRS, help="fewest rounds")
    parser.add_argument(
        "--most-pairs", type=int, default=60, help="most rounds, if the intervals decide nothing"
    )
    parser.add_argument("--minutes", type=float, default=6, help="longest time for each group of rounds")
    parser.add_argument("--prompt-tokens", type=int, default=prompt_tokens, help="length of the prompts")
    parser.add_argument(
        "--generated-tokens", type=int, default=generated_tokens, help="length of the answers"
    )
    parser.add_argument("--threads", type=int, default=hardware.usable_cores())
    parser.add_argument("--gpu-layers", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write everything here, with every sample")


def write(path: Path | None, results: Sequence[Ratio | Limit], **facts: Any) -> None:  # noqa: ANN401 - JSON
    """Write results with what they were made on; nothing without a path."""
    if path is None:
        return
    content = {
        "phi4local": __version__,
        "llama_cpp_python": version("llama-cpp-python"),
        "machine": {**hardware.describe(), "architecture": platform.machine()},
        **facts,
        "interval": "of the median ratio, by order statistics; see benchmarks/pairs.py",
        "results": [result.to_mapping() for result in results],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
