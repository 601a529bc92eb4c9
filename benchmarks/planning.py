"""What `phi4local plan` predicts against what happens: buffers, process memory, tokens per second.

    python -m benchmarks.planning --json benchmarks/results/planning.json

- buffers: weights, KV cache, compute and output buffer of a random model of 1.3 billion weights, for twelve
  settings, against what llama.cpp reports when it allocates them (1 %);
- memory: the largest resident size of the engine process, against plan and rearranged copies (5 % + 150 MB);
- speed: tokens per second of models that the constants in `planning/speed.py` were not taken from (20 %).
  The machine must be idle: other programs take bandwidth from both sides, but not at the same time. The
  bandwidth is measured anew, whatever is known of this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import gpu_memory
from benchmarks.random_model import cached_gguf
from benchmarks.streams import Ours
from phi4local import __version__, gguf, hardware, planning
from phi4local.hardware import bandwidth
from phi4local.planning.layers import rearranged_bytes
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings

CALIBRATION = ("1.3b:Q4_K_M",)
"""Size and quantization of what the constants in `planning/speed.py` were taken from; it has no bar."""
MODELS = (*CALIBRATION, "1.3b:Q8_0", "0.6b:Q6_K", "0.6b:Q4_K_M")
CONTEXT_TOKENS, PROMPT_TOKENS, ANSWER_TOKENS, ROUNDS = 1024, 256, 64, 5
SPEED_BAR = 0.2


def run_model(path: Path, *, calibration: bool) -> dict[str, Any]:
    """Return predicted and measured memory and speed of one file."""
    machine = hardware.this_machine(measure=True)
    settings = LoadSettings(context_tokens=CONTEXT_TOKENS)
    shape = planning.model_shape(gguf.validate(path))
    plan = planning.fit(shape, machine, settings=settings)
    rates, prompts = [], []
    file = file_facts(gguf.validate(path)).model_file()
    loaded = Ours(file, argparse.Namespace(threads=None, gpu_layers=None), context_tokens=CONTEXT_TOKENS)
    with loaded.worker:
        for _ in range(ROUNDS + 1):
            finished = loaded.submit(loaded.some_ids(PROMPT_TOKENS), ANSWER_TOKENS).result().finished
            rates.append(finished.tokens_per_second)
            prompts.append(finished.prompt_tokens_per_second)
        peak = loaded.worker.peak_memory_bytes()
    predicted = plan.memory_bytes + rearranged_bytes(shape, machine)
    speeds = plan.speeds
    return {
        "model": path.name,
        "calibration": calibration,
        "memory": gpu_memory.compare(predicted, peak),
        "generation": compare_speed(speeds.generation.expected if speeds else None, rates[1:]),
        "prompt": compare_speed(speeds.prompt.expected if speeds else None, prompts[1:]),
    }


def compare_speed(predicted: float | None, measured: list[float]) -> dict[str, Any]:
    """Return tokens per second, the relative error, and whether it is at most 20 % of what was measured.

    Example: 45 predicted, 38 measured: an error of 0.184.
    """
    middle = statistics.median(measured)
    samples = [round(value, 2) for value in measured]
    if predicted is None:
        return {"predicted": None, "measured": round(middle, 2), "samples": samples}
    error = predicted / middle - 1
    facts = {"predicted": round(predicted, 2), "measured": round(middle, 2), "error": round(error, 3)}
    return facts | {"met": abs(error) <= SPEED_BAR, "samples": samples}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--models", nargs="*", metavar="SIZE:TYPE", help="instead of the usual ones")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["PHI4LOCAL_HOME"] = home
        buffers = gpu_memory.check_buffers(cached_gguf("1.3b"), hardware.this_machine(measure=True), 0)
        print("buffers: worst error", buffers["worst_error"])
        rows = []
        for name in options.models or MODELS:
            size, _, quantization = name.partition(":")
            rows.append(run_model(cached_gguf(size, quantization), calibration=name in CALIBRATION))
            print(json.dumps(rows[-1]), flush=True)
        known = bandwidth.measured()
    if options.json:
        facts = {
            "phi4local": __version__,
            "machine": hardware.describe(),
            "bandwidth_bytes_per_second": known,
            "command": "python -m benchmarks.planning",
            "buffers": buffers,
            "models": rows,
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
