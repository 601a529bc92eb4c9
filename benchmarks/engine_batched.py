"""4 and 8 conversations at once through the worker, beside llama-batched-bench; and two LoRA adapters.

    python -m benchmarks.engine_batched [--only unified,separate,adapters] [--json FILE]

- unified, separate: tokens per second of all streams together while all of them generate, with one pool of
  cells and with a stream of cells for each, divided by llama-batched-bench's S_TG with as many sequences in a
  batch. And the slowest of our streams beside the mean of them.
- adapters: 8 streams, half of them with one adapter and half with another, divided by 8 streams with one. One
  batch has one adapter set, so that two groups take turns with half the batch each.

About five minutes for each of the three on two cores with the usual model.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import pairs
from benchmarks.peers import Peer
from benchmarks.random_adapter import write_adapter
from benchmarks.random_model import cached_gguf
from benchmarks.streams import Ours, model_file

STREAMS = (4, 8)
USUAL = {"prompt_tokens": 16, "generated_tokens": 32}
AGGREGATE, SLOWEST, MIXED = 0.95, 0.7, 0.8


def batched(model: Path, options: argparse.Namespace, *, unified: bool) -> list[pairs.Ratio]:
    """Compare all numbers of streams in one KV mode."""
    peer = Peer.of(options, model)
    lengths = {"prompt_tokens": options.prompt_tokens, "generated_tokens": options.generated_tokens}
    room = -(-(sum(lengths.values()) + 1) // 256) * 256
    mode = "one pool" if unified else "a stream each"
    ratios = {n: pairs.Ratio(f"{n} streams, {mode}", AGGREGATE) for n in STREAMS}
    slowest = {n: pairs.Ratio(f"{n} streams, {mode}: slowest / mean", SLOWEST) for n in STREAMS}
    engines = {
        n: Ours(model_file(model), options, parallel=n, unified_kv=unified, context_tokens=room)
        for n in STREAMS
    }

    def measure_ours() -> None:
        for n, ours in engines.items():
            speeds = ours.speeds([{}] * n, **lengths)
            ratios[n].ours.append(speeds.together)
            slowest[n].add(min(speeds.each), statistics.mean(speeds.each))

    def measure_theirs() -> None:
        rows = peer.batched_bench(streams=STREAMS, **lengths, unified=unified)
        for n in STREAMS:
            ratios[n].theirs.append(rows[n]["speed_tg"])

    measure_ours()
    for ratio in [*ratios.values(), *slowest.values()]:  # that was the warm-up
        ratio.ours.clear()
        ratio.theirs.clear()
    everything = [*ratios.values(), *slowest.values()]
    pairs.run(everything, pairs.alternate(measure_ours, measure_theirs), options)
    for ours in engines.values():
        ours.worker.close()
    return everything


def adapters(model: Path, options: argparse.Namespace) -> list[pairs.Ratio]:
    """Compare a mixture of two adapters with one of them, with the same number of streams."""
    from phi4local.engine.adapters import AdapterFile

    # Groups take turns of 32 steps: an answer must be longer than a few of them.
    lengths = {"prompt_tokens": options.prompt_tokens, "generated_tokens": 2 * options.generated_tokens}
    room = -(-(sum(lengths.values()) + 1) // 256) * 256
    ratio = pairs.Ratio("8 streams, two adapters / one adapter", MIXED)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for seed, name in enumerate(("first", "second")):
            path = write_adapter(model, Path(folder) / f"{name}.gguf", seed=seed)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            files.append(AdapterFile(name=name, path=path, digest=digest))
        file = replace(model_file(model), adapters=tuple(files))
        ours = Ours(file, options, parallel=8, context_tokens=room)
        one: list[dict[str, Any]] = [{"adapters": (("first", 1.0),)}] * 8
        two = [*one[:4], *[{"adapters": (("second", 1.0),)}] * 4]

        def measure(fields: list[dict[str, Any]]) -> float:
            speeds = ours.speeds(fields, **lengths)
            return speeds.together

        with ours.worker:
            measure(two)
            pairs.run(
                [ratio],
                pairs.alternate(
                    lambda: ratio.ours.append(measure(two)), lambda: ratio.theirs.append(measure(one))
                ),
                options,
            )
    return [ratio]


GROUPS = {
    "unified": lambda model, options: batched(model, options, unified=True),
    "separate": lambda model, options: batched(model, options, unified=False),
    "adapters": adapters,
}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_options(parser, **USUAL)
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, with commas between them")
    options = parser.parse_args()
    model = options.model or cached_gguf("1.3b")
    results = [ratio for name in options.only.split(",") for ratio in GROUPS[name](model, options)]
    command = f"python -m benchmarks.engine_batched --only {options.only}"
    shape = {"prompt_tokens": options.prompt_tokens, "generated_tokens": options.generated_tokens}
    pairs.write(options.json, results, command=command, model=model.name, threads=options.threads, **shape)
    sys.exit(not all(result.met for result in results))


if __name__ == "__main__":
    main()
