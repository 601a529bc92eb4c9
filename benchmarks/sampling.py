"""What it costs to choose a token, beside llama.cpp's whole chain and beside the step before it.

    python -m benchmarks.sampling [--model FILE] [--pairs 20] [--json benchmarks/results/sampling.json]

Every choice follows a real decode step, whose data have pushed the sampler's out of the processor's caches.
The logits are then overwritten with made ones, so that each chain meets an easy and a hard distribution:
- `text`: probabilities fall as a power of the rank, as a language model's do;
- `flat`: normal noise, as the random weights of these benchmarks give. A nucleus has 36,000 tokens there.

One pair is one choice by `llama_sampler_sample` and one by `TokenChooser`, in alternating order.
The share is ours divided by the median step of the same run; the bar is 3 %.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.random_model import cached_gguf
from phi4local import __version__, hardware
from phi4local.engine.sampling import TokenChooser
from phi4local.engine.sampling.chain import chain_steps, remembered_tokens
from phi4local.engine.worker.process import child_environment
from phi4local.native.context import ContextShape, NativeContext
from phi4local.native.llama import NativeModel
from phi4local.native.sampler import NativeSampler
from phi4local.settings import DEFAULT_SAMPLING, SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LARGEST_SHARE = 0.03
CONTEXT_TOKENS = 512
PROMPT = tuple(range(100, 164))
_ALL = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 0.9, "seed": 1}
CHAINS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "llama.cpp's defaults": {"seed": 1},
    "temperature": _ALL,
    "top_k 1000": _ALL | {"top_k": 1000},
    "top_k 20000": _ALL | {"top_k": 20_000},
    "top_p 0.95": _ALL | {"top_p": 0.95},
    "min_p 0.05": _ALL | {"min_p": 0.05},
    "typical_p 0.9": _ALL | {"typical_p": 0.9},
    "top_n_sigma 1": _ALL | {"top_n_sigma": 1.0},
    "xtc": _ALL | {"xtc_probability": 1.0},
    "dynamic temperature": _ALL | {"dynamic_temperature_range": 0.5},
    "penalties and defaults": {"repeat_penalty": 1.1, "presence_penalty": 0.1, "seed": 1},
    "dry and defaults": {"dry_multiplier": 0.8, "seed": 1},
    "300 biases and top_p": _ALL | {"top_p": 0.95, "logit_bias": dict.fromkeys(range(300), -100)},
    "mirostat 1": {"mirostat": 1, "temperature": 0.9, "seed": 1},
    "mirostat 2": {"mirostat": 2, "temperature": 0.9, "seed": 1},
    "defaults with 5 logprobs": {"logprobs": 5, "seed": 1},
}


def text_row(random: np.random.Generator, tokens: int) -> Any:  # noqa: ANN401
    """Return logits whose probabilities fall with the power 1.8 of the rank."""
    ranks = random.permutation(tokens) + 1.0
    return (20 - 1.8 * np.log(ranks) + random.normal(0, 0.5, tokens)).astype(np.float32)


def flat_row(random: np.random.Generator, tokens: int) -> Any:  # noqa: ANN401
    """Return logits of normal noise."""
    return random.normal(0, 2, tokens).astype(np.float32)


ROWS = {"text": text_row, "flat": flat_row}


@dataclass(slots=True)
class Stage:
    """A model in the middle of an answer."""

    model: NativeModel
    context: NativeContext
    place: int = len(PROMPT)
    steps: list[float] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path, threads: int) -> Stage:
        """Load a model and evaluate a prompt."""
        model = NativeModel(path)
        context = NativeContext(
            model, ContextShape(context_tokens=CONTEXT_TOKENS, batch_tokens=len(PROMPT), threads=threads)
        )
        context.decode(PROMPT, 0)
        return cls(model, context)

    def step(self, row: Any) -> None:  # noqa: ANN401
        """Evaluate one token, write down how long it took, and replace the logits."""
        if self.place == CONTEXT_TOKENS:
            self.place = len(PROMPT)
            self.context.forget_from(self.place)
        started = time.perf_counter()
        self.context.decode((7,), self.place)
        logits = self.context.logits()
        self.steps.append(time.perf_counter() - started)
        self.place += 1
        ctypes.memmove(logits, row.ctypes.data, row.nbytes)


def measure(stage: Stage, given: dict[str, Any], rows: Sequence[Any]) -> dict[str, float]:
    """Return median microseconds of one choice by the whole chain and by ours."""
    sampling = SamplingSettings(**given).filled_from(DEFAULT_SAMPLING)
    steps = chain_steps(sampling, vocabulary_tokens=stage.model.vocabulary_tokens)
    whole = NativeSampler(steps, stage.model)
    ours = TokenChooser(stage.model, sampling, PROMPT)
    remembered = remembered_tokens(sampling)
    for token in PROMPT[-remembered:] if remembered else ():
        whole.accept(token)
    sides: dict[str, tuple[Callable[[NativeContext], Any], list[float]]] = {
        "whole_chain_us": (whole.sample, []),
        "ours_us": (ours.choose, []),
    }
    for row in rows:
        for choose, times in sides.values():
            stage.step(row)
            started = time.perf_counter()
            choose(stage.context)
            times.append(time.perf_counter() - started)
    whole.close()
    ours.close()
    # The first choice loads code and memory that stay for the rest of the answer.
    return {name: round(statistics.median(times[1:]) * 1e6, 1) for name, (_, times) in sides.items()}


def measure_all(path: Path, *, pairs: int, threads: int) -> dict[str, Any]:
    """Return the costs of every chain on every kind of row."""
    stage = Stage.open(path, threads)
    tokens = stage.model.vocabulary_tokens
    random = np.random.default_rng(0)
    chains: dict[str, Any] = {}
    for name, given in CHAINS.items():
        chains[name] = {}
        for kind, make_row in ROWS.items():
            rows = [make_row(random, tokens) for _ in range(pairs + 1)]
            chains[name][kind] = measure(stage, given, rows)
    step = statistics.median(stage.steps)
    for kinds in chains.values():
        for numbers in kinds.values():
            numbers["share_of_step"] = round(numbers["ours_us"] / 1e6 / step, 5)
    parameters = stage.model.parameters
    stage.context.close()
    stage.model.close()
    return {
        "model": path.name,
        "parameters": parameters,
        "vocabulary_tokens": tokens,
        "threads": threads,
        "step_ms": round(step * 1e3, 2),
        "chains": chains,
    }


def main() -> int:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", type=Path, help="a GGUF file; without it a random one of 1.3 B weights is made"
    )
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=hardware.usable_cores())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.model or cached_gguf("1.3b")
    result = {
        "phi4local": __version__,
        "machine": hardware.describe(),
        "command": f"python -m benchmarks.sampling --pairs {options.pairs}",
        **measure_all(path, pairs=options.pairs, threads=options.threads),
    }
    shares = [numbers["share_of_step"] for kinds in result["chains"].values() for numbers in kinds.values()]
    result |= {"largest_share": max(shares), "bar": LARGEST_SHARE, "met": max(shares) <= LARGEST_SHARE}
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if result["met"] else 1


def main_as_in_the_worker() -> int:
    """Run `main` in a process with the engine process's variables, which libraries read when they load."""
    command = [sys.executable, "-m", "benchmarks.sampling", "--here", *sys.argv[1:]]
    return subprocess.run(command, env=child_environment(), check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main() if "--here" in sys.argv else main_as_in_the_worker())
