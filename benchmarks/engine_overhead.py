"""What the worker process, sampling and streaming cost, beside the bare library in the same run.

    python -m benchmarks.engine_overhead [--output benchmarks/results/engine-overhead.json]

Three questions, two models:
- phi4-nano: microseconds per token that are not the library's. The bare loop calls `llama_decode` and
  `llama_sampler_sample` through the same bindings, with one prepared batch and nothing else.
- the same from inside: the time of the engine's Python between the library's calls.
- a random model of 0.6 billion weights with Phi-4's vocabulary, Q4_K_M: tokens per second through the worker,
  divided by those of a bare decode loop that does not even sample.

Rounds are short and alternate, so that a machine that changes its speed changes it for both. Given are the
median of the pairs, and the difference of the lower quartiles: half of the rounds on a shared machine are
disturbed by other work, and one of the two sides is disturbed more often by chance.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.random_model import Shape, write_checkpoint
from phi4local import __version__, gguf, hardware
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.engine.engine import Engine
from phi4local.engine.worker import EngineWorker
from phi4local.engine.worker.process import child_environment
from phi4local.prompts import TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

PROMPT = tuple(range(100, 108))
CONTEXT_TOKENS = 1024


class BareLoop:
    """The bare loop in a child process that answers one round at a time."""

    def __init__(self, path: Path, *, threads: int, sample: bool) -> None:
        order = json.dumps({"path": str(path), "threads": threads, "sample": sample})
        # The engine process gets the same setting of libgomp; see LOG.md.
        self._child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engine_overhead", "--bare", order],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(),
        )

    def seconds_per_token(self, tokens: int) -> float:
        """Run one round."""
        if self._child.stdin is None or self._child.stdout is None:
            raise RuntimeError("the child was started with pipes")
        self._child.stdin.write(f"{tokens}\n")
        self._child.stdin.flush()
        return float(self._child.stdout.readline())

    def close(self) -> None:
        """End the child."""
        self._child.communicate("")


def bare_loop(order: dict[str, Any]) -> None:
    """In the child: answer each line, a number of tokens, with seconds per token."""
    from phi4local.native.context import ContextShape, NativeContext
    from phi4local.native.llama import NativeModel
    from phi4local.native.sampler import NativeSampler

    model = NativeModel(Path(order["path"]))
    context = NativeContext(
        model, ContextShape(context_tokens=CONTEXT_TOKENS, batch_tokens=512, threads=order["threads"])
    )
    sampler = NativeSampler([("greedy",)])
    for line in sys.stdin:
        context.forget_from(0)
        context.decode(PROMPT, 0)
        print(bare_round(context, sampler, int(line) - 1, sample=order["sample"]), flush=True)


def bare_round(context: Any, sampler: Any, steps: int, *, sample: bool) -> float:  # noqa: ANN401
    """Return seconds per step of decode (and greedy sampling) alone, with one prepared batch."""
    from phi4local.native.llama import bindings

    api = bindings()
    token = (ctypes.c_int32 * 1)(sampler.sample(context))
    batch = api.llama_batch_get_one(token, 1)
    decode, choose, logits = api.llama_decode, api.llama_sampler_sample, api.llama_get_logits_ith
    handle, chain = context.handle, sampler.handle
    started = time.perf_counter()
    if sample:
        for _ in range(steps):
            decode(handle, batch)
            token[0] = choose(chain, handle, -1)
    else:
        for _ in range(steps):
            decode(handle, batch)
            logits(handle, -1)
    return (time.perf_counter() - started) / steps


def worker_seconds_per_token(worker: EngineWorker, *, tokens: int) -> float:
    """Return seconds per token from the first text to the end, where the text arrives."""
    request = Request(
        segments=(TokenSegment(PROMPT),),
        sampling=SamplingSettings(temperature=0),
        max_tokens=tokens,
        ignore_end=True,
    )
    times = [time.perf_counter() for _ in worker.submit(request)]
    return (times[-1] - times[0]) / (tokens - 1)


def compare(path: Path, *, tokens: int, rounds: int, threads: int, sample: bool) -> dict[str, Any]:
    """Alternate worker and bare loop in short rounds; return seconds per token of both, in order."""
    facts = file_facts(gguf.validate(path))
    file = facts.model_file()
    bare_loop = BareLoop(path, threads=threads, sample=sample)
    with EngineWorker() as worker:
        worker.load(file, LoadSettings(context_tokens=CONTEXT_TOKENS, threads=threads))
        worker_seconds_per_token(worker, tokens=tokens)
        bare_loop.seconds_per_token(tokens)
        bare, through = [], []
        for _ in range(rounds):
            bare.append(bare_loop.seconds_per_token(tokens))
            through.append(worker_seconds_per_token(worker, tokens=tokens))
    bare_loop.close()
    pairs = list(zip(through, bare, strict=True))
    return {
        "tokens": tokens,
        "threads": threads,
        "bare_samples": sample,
        "bare_seconds_per_token": [round(value, 7) for value in bare],
        "worker_seconds_per_token": [round(value, 7) for value in through],
        "median_overhead_microseconds": statistics.median((a - b) * 1e6 for a, b in pairs),
        "lower_quartile_overhead_microseconds": (_lower_quartile(through) - _lower_quartile(bare)) * 1e6,
        "median_speed_ratio": statistics.median(b / a for a, b in pairs),
        "lower_quartile_speed_ratio": _lower_quartile(bare) / _lower_quartile(through),
    }


def _lower_quartile(values: list[float]) -> float:
    return statistics.quantiles(values, n=4)[0]


def own_microseconds_per_token(path: Path, *, tokens: int, rounds: int) -> list[float]:
    """Return what the engine's Python costs between the library's calls, measured around those calls.

    The engine runs in this process; timing two calls a token adds about a microsecond to the result.
    """
    from phi4local.native.llama import bindings

    api, inside = bindings(), 0.0

    def timed(name: str) -> None:
        original = getattr(api, name)

        def call(*arguments: Any) -> Any:  # noqa: ANN401
            nonlocal inside
            started = time.perf_counter()
            result = original(*arguments)
            inside += time.perf_counter() - started
            return result

        setattr(api, name, call)

    timed("llama_decode")
    timed("llama_sampler_sample")
    request = Request(
        segments=(TokenSegment(PROMPT),),
        sampling=SamplingSettings(temperature=0),
        max_tokens=tokens,
        ignore_end=True,
    )
    results = []
    file = file_facts(gguf.validate(path)).model_file()
    with Engine(file, LoadSettings(context_tokens=CONTEXT_TOKENS, threads=1)) as engine:
        for _ in range(rounds):
            inside = 0.0
            started = time.perf_counter()
            engine.submit(request).result()
            results.append((time.perf_counter() - started - inside) / tokens * 1e6)
    return [round(value, 2) for value in results]


def measure(rounds: int) -> dict[str, Any]:
    """Run both comparisons."""
    checkpoint = Path(__file__).resolve().parent.parent / "models" / "phi4-nano"
    with tempfile.TemporaryDirectory() as folder:
        nano = Path(folder) / "nano.gguf"
        convert_checkpoint(checkpoint, nano, "Q8_0")
        big_checkpoint, big = Path(folder) / "random", Path(folder) / "random.gguf"
        weights = write_checkpoint(big_checkpoint, Shape())
        convert_checkpoint(big_checkpoint, big, "Q4_K_M")
        threads = hardware.usable_cores()
        return {
            "phi4local": __version__,
            "machine": hardware.describe(),
            "command": "python -m benchmarks.engine_overhead",
            "phi4-nano Q8_0": compare(nano, tokens=128, rounds=rounds, threads=1, sample=True),
            f"random {weights:,} weights Q4_K_M": compare(
                big, tokens=24, rounds=rounds, threads=threads, sample=False
            ),
            "own microseconds per token, phi4-nano Q8_0": own_microseconds_per_token(
                nano, tokens=512, rounds=rounds // 2
            ),
        }


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--bare", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.bare:
        bare_loop(json.loads(options.bare))
        return
    text = json.dumps(measure(options.rounds), indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
