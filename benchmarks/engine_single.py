"""One conversation: phi4local through worker, sampling and text streaming, beside llama-bench.

    python -m benchmarks.engine_single [--json benchmarks/results/engine-single.json]

- generation: tokens per second of an answer, from its first event to its last, where the caller gets them.
  llama-bench times a loop of decodes without sampling and without text.
- prompt: tokens per second from `submit` to the first event. Once with no limit on the length of a step and
  llama-bench's own batch (512), and once with the default limit of 250 ms, which costs speed and buys that
  cancelling and other conversations wait no longer.
- phi4-nano: microseconds per token that are not the library's, measured around its calls inside the engine.

Both sides use the same library files, the same settings, and 32 tokens after an (almost) empty context; each
prompt is new, so that nothing is reused. About five minutes on two cores with the usual model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import engine_overhead, pairs
from benchmarks.peers import Peer
from benchmarks.random_model import cached_gguf
from benchmarks.streams import Ours, model_file
from phi4local.convert import convert_checkpoint

BARS = {"generation": 0.97, "prompt, no step limit": 0.97, "prompt, steps of 250 ms": 0.80}
NANO_MICROSECONDS = 60


def compare(model: Path, options: argparse.Namespace) -> tuple[list[pairs.Ratio], dict[str, Any]]:
    """Run the pairs; return their ratios and the settings that were used."""
    peer = Peer.of(options, model)
    ratios = {name: pairs.Ratio(name, bar) for name, bar in BARS.items()}
    unlimited, limited = Ours(model_file(model), options, step_seconds=0.0), Ours(model_file(model), options)
    with unlimited.worker, limited.worker:
        for side in (unlimited, limited):
            side.prompt_speed(options.prompt_tokens)
            generation_speed(side, options.generated_tokens)

        def measure_ours() -> dict[str, float]:
            return {
                "generation": generation_speed(limited, options.generated_tokens),
                "prompt, no step limit": unlimited.prompt_speed(options.prompt_tokens),
                "prompt, steps of 250 ms": limited.prompt_speed(options.prompt_tokens),
            }

        def round_(number: int) -> None:
            ours = measure_ours() if number % 2 else {}
            prompt, generation = peer.llama_bench(
                prompt_tokens=options.prompt_tokens, generated_tokens=options.generated_tokens
            )
            for name, speed in (ours or measure_ours()).items():
                ratios[name].add(speed, generation if name == "generation" else prompt)

        pairs.run(list(ratios.values()), round_, options)
    return list(ratios.values()), limited.facts.settings.to_mapping()


def generation_speed(ours: Ours, tokens: int) -> float:
    """Return tokens per second of one answer."""
    return ours.speeds([{}], prompt_tokens=8, generated_tokens=tokens).each[0]


def own_time(rounds: int) -> pairs.Limit:
    """Return the engine's own time per token of phi4-nano, in microseconds: the median of the rounds."""
    checkpoint = Path(__file__).resolve().parent.parent / "models" / "phi4-nano"
    with tempfile.TemporaryDirectory() as folder:
        nano = Path(folder) / "nano.gguf"
        convert_checkpoint(checkpoint, nano, "Q8_0")
        samples = engine_overhead.own_microseconds_per_token(nano, tokens=512, rounds=rounds)
    name = "phi4-nano, time that is not llama.cpp's"
    return pairs.Limit(name, statistics.median(samples), NANO_MICROSECONDS, "µs/token", samples=samples)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_options(parser)
    options = parser.parse_args()
    model = options.model or cached_gguf("1.3b")
    nano = (
        [] if options.gpu_layers else [own_time(options.pairs)]
    )  # what Python costs does not depend on a GPU
    for limit in nano:
        print(limit.row(), flush=True)
    ratios, settings = compare(model, options)
    facts = {"command": "python -m benchmarks.engine_single", "model": model.name, "settings": settings}
    pairs.write(options.json, [*ratios, *nano], **facts)
    sys.exit(not (all(limit.met for limit in nano) and all(ratio.met for ratio in ratios)))


if __name__ == "__main__":
    main()
