"""The bare decode loop over the same bindings: no sampling, no text, no events; the upper bound.

Runs in a process of its own, so that a crash of the library is an error line and the peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import hardware
from phi4local.bench.report import Samples, SpeedReport
from phi4local.bench.speed import SHORT_PROMPT_TOKENS, Workload, random_prompt
from phi4local.engine.model import LoadedModel, ModelFile
from phi4local.engine.worker.process import child_command, child_environment
from phi4local.errors import EngineCrashedError
from phi4local.planning.plan import BATCH_TOKENS
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Sequence


def measure_raw(file: ModelFile, settings: LoadSettings, workload: Workload) -> SpeedReport:
    """Measure the bare loop in a child process.

    Args:
        file: a validated file.
        settings: as the chat row used them, without unset fields.
        workload: as the chat row.

    Raises:
        EngineCrashedError: the child died.
    """
    order = {
        "path": str(file.path),
        "trained_context_tokens": file.trained_context_tokens,
        "layers": file.layers,
        "settings": settings.to_mapping(),
        "workload": [workload.prompt_tokens, workload.generated_tokens, workload.repeats],
    }
    child = subprocess.run(  # noqa: S603 - our own interpreter and module
        child_command("phi4local.bench.raw"),
        env=child_environment(),
        input=json.dumps(order).encode(),
        capture_output=True,
        check=False,
    )
    if child.returncode:
        lines = child.stderr.decode("utf-8", "replace").strip().splitlines() or [""]
        raise EngineCrashedError(f"of the raw benchmark ended with code {child.returncode}", lines[-1][:300])
    data = json.loads(child.stdout)
    return SpeedReport(
        path="raw",
        prompt_tokens=workload.prompt_tokens,
        generated_tokens=workload.generated_tokens,
        prompt_tokens_per_second=Samples(tuple(data["prompt_rates"])),
        generated_tokens_per_second=Samples(tuple(data["rates"])),
        first_token_seconds=Samples(tuple(workload.prompt_tokens / rate for rate in data["prompt_rates"])),
        load_seconds=data["load_seconds"],
        peak_memory_bytes=data["peak_memory_bytes"],
    )


def main() -> None:
    """Run in the child: read an order from standard input, write the samples to standard output."""
    order = json.loads(sys.stdin.buffer.read())
    file = ModelFile(
        path=Path(order["path"]),
        trained_context_tokens=order["trained_context_tokens"],
        layers=order["layers"],
    )
    prompt_tokens, generated_tokens, repeats = order["workload"]
    model = LoadedModel(file, LoadSettings.from_mapping(order["settings"]))
    result: dict[str, Any] = {"prompt_rates": [], "rates": [], "load_seconds": model.facts.load_seconds}
    for round_number in range(repeats + 1):
        ids = random_prompt(prompt_tokens, model.facts.vocabulary_tokens, seed=2 * round_number).token_ids
        prompt_rate = prompt_tokens / time_prompt(model, ids)
        rate = (generated_tokens - 1) / time_generation(model, generated_tokens - 1)
        if round_number:
            result["prompt_rates"].append(prompt_rate)
            result["rates"].append(rate)
    result["peak_memory_bytes"] = hardware.peak_memory_bytes()
    sys.stdout.write(json.dumps(result))


def time_prompt(model: LoadedModel, ids: Sequence[int]) -> float:
    """Return the seconds that evaluating `ids` takes, in batches of the usual size."""
    model.context.forget_from(0)
    started = time.perf_counter()
    for place in range(0, len(ids), BATCH_TOKENS):
        model.context.decode(ids[place : place + BATCH_TOKENS], place)
    model.context.logits()  # waits for a GPU
    return time.perf_counter() - started


def time_generation(model: LoadedModel, steps: int) -> float:
    """Return the seconds of `steps` single-token steps after a short prompt."""
    model.context.forget_from(0)
    ids = random_prompt(SHORT_PROMPT_TOKENS, model.facts.vocabulary_tokens, seed=1).token_ids
    model.context.decode(ids, 0)
    model.context.logits()
    started = time.perf_counter()
    for step in range(steps):
        model.context.decode((ids[step % len(ids)],), len(ids) + step)
        model.context.logits()
    return time.perf_counter() - started
