"""What `phi4local plan` predicts against what happens: buffers, process memory, tokens per second.

    python -m benchmarks.planning --json benchmarks/results/planning.json

- buffers: KV cache, compute and output buffer of a random model of 1.3 billion weights, for twelve settings,
  against what llama.cpp reports when it allocates them (1 %);
- memory: the largest resident size of the engine process, against plan and rearranged copies (5 % + 150 MB);
- speed: tokens per second of models that the constants in `planning/speed.py` were not taken from (20 %).
  The machine must be idle: other programs take bandwidth from both sides, but not at the same time.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.gpu_memory import MIB, SETTINGS, report_of
from benchmarks.random_model import cached_gguf
from benchmarks.streams import Ours
from phi4local import __version__, gguf, hardware, planning
from phi4local.hardware import bandwidth
from phi4local.planning.buffers import compute_bytes, kv_bytes, output_bytes
from phi4local.planning.layers import rearranged_bytes
from phi4local.runtime.facts import file_facts
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from phi4local.planning import ModelShape

MODELS = (("1.3b", "Q4_K_M"), ("1.3b", "Q8_0"), ("0.6b", "Q6_K"), ("0.6b", "Q4_K_M"))
"""Size and quantization; the first one is what the constants were taken from."""
CONTEXT_TOKENS, PROMPT_TOKENS, ANSWER_TOKENS, ROUNDS = 1024, 256, 64, 5


def check_buffers(path: Path, model: ModelShape) -> list[dict[str, Any]]:
    """Return predicted and reported MiB of each buffer, for each setting."""
    rows = []
    for cells, theirs in zip(SETTINGS, report_of(path)["contexts"], strict=True):
        ours = {"KV CPU": kv_bytes(model, cells), "compute CPU": compute_bytes(model, cells)}
        ours["output CPU"] = output_bytes(model, cells)
        rows.append(
            {
                "context_tokens": cells.context_tokens,
                "kv_type": cells.kv_type,
                "flash_attention": cells.flash_attention,
                "batch_tokens": cells.batch_tokens,
                "predicted_mib": {name: round(size / MIB, 2) for name, size in ours.items()},
                "reported_mib": theirs,
                "error": round(max(abs(size / MIB / theirs[name] - 1) for name, size in ours.items()), 5),
            }
        )
    return rows


def run_model(path: Path) -> dict[str, Any]:
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
        "predicted_memory_bytes": predicted,
        "measured_memory_bytes": peak,
        "memory_met": abs(predicted - peak) <= 0.05 * peak + 150e6,
        "predicted_tokens_per_second": round(speeds.generation.expected, 2) if speeds else None,
        "measured_tokens_per_second": round(statistics.median(rates[1:]), 2),
        "predicted_prompt_tokens_per_second": round(speeds.prompt.expected, 1) if speeds else None,
        "measured_prompt_tokens_per_second": round(statistics.median(prompts[1:]), 1),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--models", nargs="*", metavar="SIZE:TYPE", help="instead of the usual ones")
    options = parser.parse_args()
    chosen = [tuple(name.split(":")) for name in options.models] if options.models else MODELS
    first = cached_gguf("1.3b")
    buffers = check_buffers(first, planning.model_shape(gguf.read_header(first)))
    print("buffers: worst error", max(row["error"] for row in buffers))
    rows = []
    for size, quantization in chosen:
        rows.append(run_model(cached_gguf(size, quantization)))
        print(json.dumps(rows[-1]))
    if options.json:
        facts = {
            "phi4local": __version__,
            "machine": hardware.describe(),
            "bandwidth_bytes_per_second": bandwidth.measured(),
            "command": "python -m benchmarks.planning",
            "buffers": buffers,
            "models": rows,
        }
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
