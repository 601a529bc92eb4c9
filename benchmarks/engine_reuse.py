"""What is kept and not computed again, and how soon a request ends that is cancelled.

    python -m benchmarks.engine_reuse [--only kept,shared,restored,cancel] [--json FILE]

- kept: tokens per second of an answer while nine tenths of the KV cache hold a conversation that waits,
  divided by those in an empty cache. Two engines, in turns.
- shared: tokens that 8 requests with the same system prompt of 1,000 tokens evaluate.
- restored: seconds to the first token of a conversation of 4,000 tokens, evaluated again or restored from
  disk.
- cancel: from `cancel` to the last event, at random moments and places of prompts of 2,000 tokens; the 99th
  percentile counts.

About five minutes for `kept` and `restored`, one or two for the others, on two cores with the usual model.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TypeVar

from benchmarks import pairs
from benchmarks.random_model import cached_gguf
from benchmarks.streams import Ours, finished, model_file

Result = TypeVar("Result", pairs.Ratio, pairs.Limit)
KEPT_CONTEXT_TOKENS = 4096
SYSTEM_TOKENS, OWN_TOKENS, REQUESTS = 1000, 8, 8
SESSION_TOKENS = 4000
CANCEL_PROMPT_TOKENS, CANCEL_SAMPLES, CANCEL_SECONDS = 2000, 200, 0.3


def kept(model: Path, options: argparse.Namespace) -> list[pairs.Ratio | pairs.Limit]:
    """Compare a full cache with an empty one."""
    ratio = pairs.Ratio("cache 90 % full / empty", 0.98)
    empty = Ours(model_file(model), options, context_tokens=KEPT_CONTEXT_TOKENS)
    full = Ours(model_file(model), options, context_tokens=KEPT_CONTEXT_TOKENS)
    with empty.worker, full.worker:
        waiting = full.some_ids(KEPT_CONTEXT_TOKENS * 9 // 10)
        finished(full.submit(waiting, 1))

        def speed(ours: Ours) -> float:
            return ours.speeds([{}], prompt_tokens=8, generated_tokens=32).together

        def measure_full() -> None:
            # It is asked for again before each round, so that it is not the one that was used longest ago.
            finished(full.submit(waiting, 1))
            ratio.ours.append(speed(full))

        speed(empty)
        pairs.run([ratio], pairs.alternate(measure_full, lambda: ratio.theirs.append(speed(empty))), options)
        again = finished(full.submit(waiting, 1)).usage
    evaluated = again.prompt_tokens - again.reused_tokens
    return [ratio, shown(pairs.Limit("tokens evaluated when it goes on", evaluated, 1, "tokens"))]


def shared(model: Path, options: argparse.Namespace) -> list[pairs.Ratio | pairs.Limit]:
    """Count what eight requests with one system prompt evaluate."""
    ours = Ours(model_file(model), options, parallel=REQUESTS, context_tokens=2048)
    with ours.worker:
        system = ours.some_ids(SYSTEM_TOKENS)
        prompts = [(*system, *ours.some_ids(OWN_TOKENS)) for _ in range(REQUESTS)]
        usages = [finished(g).usage for g in [ours.submit(prompt, 2) for prompt in prompts]]
    evaluated = [usage.prompt_tokens - usage.reused_tokens for usage in usages]
    bar = SYSTEM_TOKENS + REQUESTS * OWN_TOKENS
    name = f"{REQUESTS} requests, {SYSTEM_TOKENS} tokens in common"
    return [
        shown(pairs.Limit(name, sum(evaluated), bar, "tokens evaluated", samples=list(map(float, evaluated))))
    ]


def restored(model: Path, options: argparse.Namespace) -> list[pairs.Ratio | pairs.Limit]:
    """Compare going on from disk with evaluating another conversation of the same length.

    The cache holds one of them, so that each evicts the other. An evaluation takes a minute with the usual
    model: the rounds end with the time that is allowed, however few they are.
    """
    ratio = pairs.Ratio(f"first token after {SESSION_TOKENS:,} tokens, restored", 10.0, unit="1/s")
    ours = Ours(model_file(model), options, context_tokens=SESSION_TOKENS + 256)
    end = time.monotonic() + 60 * options.minutes
    with ours.worker, tempfile.TemporaryDirectory() as folder:
        path, session = Path(folder) / "session.kv", ours.some_ids(SESSION_TOKENS)
        finished(ours.submit(session, 1))
        ours.worker.save(ours.request(session, 1), path)
        while len(ratio.ours) < options.pairs and (not ratio.ours or time.monotonic() < end):
            evaluated = _seconds_to_first_token(ours, ours.some_ids(SESSION_TOKENS + 1))
            started = time.perf_counter()
            ours.worker.restore(path)
            seconds = time.perf_counter() - started
            seconds += _seconds_to_first_token(ours, (*session, *ours.some_ids(1)))
            ratio.add(1 / seconds, 1 / evaluated)
    return [shown(ratio)]


def _seconds_to_first_token(ours: Ours, ids: tuple[int, ...]) -> float:
    started = time.perf_counter()
    finished(ours.submit(ids, 1))
    return time.perf_counter() - started


def cancel(model: Path, options: argparse.Namespace) -> list[pairs.Ratio | pairs.Limit]:
    """Measure how long a cancelled prompt goes on.

    A prompt that was cancelled is asked for again and goes on where it stopped, so that the moments cover all
    of it and not only its beginning.
    """
    choose = random.Random(1)
    seconds: list[float] = []
    ours = Ours(model_file(model), options, context_tokens=4096)
    with ours.worker:
        prompt = ours.some_ids(CANCEL_PROMPT_TOKENS)
        while len(seconds) < CANCEL_SAMPLES:
            generation = ours.submit(prompt, 1)
            time.sleep(choose.uniform(0.02, 0.5))
            started = time.perf_counter()
            generation.cancel()
            if finished(generation).reason == "cancelled":
                seconds.append(time.perf_counter() - started)
            else:
                prompt = ours.some_ids(CANCEL_PROMPT_TOKENS)
    late = sorted(seconds)[math.ceil(0.99 * len(seconds)) - 1]
    name = f"cancel, 99th percentile of {len(seconds)}"
    return [shown(pairs.Limit(name, late, CANCEL_SECONDS, "seconds", samples=seconds))]


def shown(limit: Result) -> Result:
    """Print a result's row and return it."""
    print(limit.row(), flush=True)
    return limit


GROUPS = {"kept": kept, "shared": shared, "restored": restored, "cancel": cancel}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_options(parser)
    parser.add_argument("--only", default=",".join(GROUPS), help="groups, with commas between them")
    options = parser.parse_args()
    model = options.model or cached_gguf("1.3b")
    results = [result for name in options.only.split(",") for result in GROUPS[name](model, options)]
    command = f"python -m benchmarks.engine_reuse --only {options.only}"
    pairs.write(options.json, results, command=command, model=model.name, threads=options.threads)
    sys.exit(not all(result.met for result in results))


if __name__ == "__main__":
    main()
