"""How soon the engine answers again after its process died, beside the time of a first start.

    python -m benchmarks.worker_recovery [--model FILE.gguf] [--rounds 20]
        [--output benchmarks/results/worker-recovery.json]

Each round starts an engine and loads the file (what a person waits for at the start), kills its process at
one of three moments, and measures from the signal until a question that waits for the fresh process is
answered. A question for token ids needs the loaded model and no computing. The moments take turns: idle, in
a prompt, and while text comes. The bar: two seconds more than the library took to load the file.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from phi4local import __version__, gguf, hardware
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request, Text
from phi4local.engine.worker import EngineWorker
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings, SamplingSettings

CONTEXT_TOKENS = 2048
ALLOWED_SECONDS = 2.0
QUESTION = (TextSegment("Hello", special=False),)
MOMENTS = ("idle", "in a prompt", "while text comes")


def one_round(path: Path, moment: str) -> dict[str, float]:
    """Return seconds of the first start, of the load in it, and from the death to the next answer."""
    file = file_facts(gguf.validate(path)).model_file()
    started = time.perf_counter()
    with EngineWorker() as worker:
        facts = worker.load(file, LoadSettings(context_tokens=CONTEXT_TOKENS))
        worker.tokenize(QUESTION)
        start_seconds = time.perf_counter() - started
        running = None
        if moment != "idle":
            running = worker.submit(_request(1500 if moment == "in a prompt" else 8))
            if moment == "while text comes":
                next(event for event in running if isinstance(event, Text))
        died = time.perf_counter()
        os.kill(worker.process_id, signal.SIGKILL)
        if running is not None:
            running.cancel()  # else it would be tried again before the question
        worker.tokenize(QUESTION)
        recovery_seconds = time.perf_counter() - died
    return {
        "start_seconds": round(start_seconds, 4),
        "load_seconds": round(facts.load_seconds, 4),
        "recovery_seconds": round(recovery_seconds, 4),
    }


def _request(prompt_tokens: int) -> Request:
    return Request(
        segments=(TokenSegment(tuple(range(100, 100 + prompt_tokens))),),
        sampling=SamplingSettings(temperature=0),
        ignore_end=True,
        max_tokens=400,
    )


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Alternate the moments; return every round, medians and the worst distance from the bar."""
    for _ in range(2):  # the file comes into the page cache
        one_round(path, "idle")
    result: dict[str, Any] = {"file_bytes": path.stat().st_size, "rounds": {}}
    found: dict[str, list[dict[str, float]]] = {moment: [] for moment in MOMENTS}
    for _ in range(rounds):
        for moment in MOMENTS:
            found[moment].append(one_round(path, moment))
    for moment, values in found.items():
        beyond_load = [value["recovery_seconds"] - value["load_seconds"] for value in values]
        result["rounds"][moment] = {
            "median_start_seconds": statistics.median(value["start_seconds"] for value in values),
            "median_recovery_seconds": statistics.median(value["recovery_seconds"] for value in values),
            "worst_seconds_beyond_load": round(max(beyond_load), 4),
            "within_the_bar": max(beyond_load) <= ALLOWED_SECONDS,
            "values": values,
        }
    return result


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a GGUF file; phi4-nano without it")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.model
        if path is None:
            path = Path(folder) / "nano.gguf"
            convert_checkpoint(Path(__file__).resolve().parent.parent / "models" / "phi4-nano", path, "Q8_0")
        measured = measure(path, options.rounds)
    result = {
        "phi4local": __version__,
        "machine": hardware.describe(),
        "command": "python -m benchmarks.worker_recovery",
        "allowed_seconds_beyond_load": ALLOWED_SECONDS,
        "model": path.name,
        **measured,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
