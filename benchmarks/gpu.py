"""Phi-4's real size on a real GPU, from random weights to eight streams, in one program.

    python -m benchmarks.gpu --json benchmarks/results/gpu.json [--stages convert,buffers,load,single,batched]

- convert: random weights of Phi-4's shapes, made in memory and converted to Q4_K_M and Q8_0 in one pass;
  their 29 GB are never on a disk.
- buffers: weights, KV cache, compute and output buffer of each device as planned, against llama.cpp's own
  sizes; twelve settings, with all layers on the GPU and with half of them.
- load: plan, load time, memory of GPU and process, and tokens per second at several depths of context, as
  predicted and as measured, and the share of the roofline; both files, all layers or half of them on the GPU.
- single, batched: phi4local beside llama-bench and llama-batched-bench, in alternating rounds.

The JSON is written after each stage, and stages of an earlier run stay in it, so that a run can be cut in
two: files are kept in `--folder`. On one H100 and 16 cores all stages take about nine minutes. `--size 0.1b`
tries everything out, also without a GPU.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import engine_batched, engine_single, gpu_memory, pairs
from benchmarks.random_model import SIZES, streamed_checkpoint
from benchmarks.streams import Ours, model_file
from phi4local import __version__, gguf, hardware, planning
from phi4local.convert.conversion import convert_to_several
from phi4local.hardware import bandwidth
from phi4local.planning.layers import rearranged_bytes
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable

QUANTIZATIONS = ("Q4_K_M", "Q8_0")
ROUNDS, ANSWER_TOKENS = 3, 64
MEMORY_BYTES = 8 * 2**30
"""Of the converter: sixteen threads hold more rows than two."""


class Run:
    """What all stages share: options, machine, files."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.machine = hardware.this_machine(measure=True)
        options.folder.mkdir(parents=True, exist_ok=True)

    def file(self, quantization: str) -> Path:
        """Return where the file of a quantization is, or will be."""
        return Path(self.options.folder / f"random-{self.options.size}-{quantization}.gguf")

    def layers(self) -> list[int]:
        """Return how many layers to put on the GPU: all, and half of them; 0 without a GPU."""
        every = SIZES[self.options.size].layers + 1
        return [every, every // 2] if self.machine.gpus else [0]

    def comparison(self) -> argparse.Namespace:
        """Return the options of the programs that compare with llama.cpp's."""
        options = argparse.Namespace(**vars(self.options))
        options.gpu_layers = self.layers()[0]
        options.most_pairs = max(options.pairs, 30)
        return options


def convert(run: Run) -> list[dict[str, Any]]:
    """Convert random weights that exist in memory only."""
    wanted = {name: run.file(name) for name in run.options.quantizations}
    missing = {name: path for name, path in wanted.items() if not path.exists()}
    rows: list[dict[str, Any]] = []
    if missing:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = streamed_checkpoint(Path(folder), SIZES[run.options.size])
            with checkpoint:
                summaries = convert_to_several(checkpoint, missing, memory_bytes=MEMORY_BYTES)
        for summary in summaries:
            planned = planning.model_shape(gguf.read_header(summary.output)).file_bytes
            rows.append(
                {
                    "quantization": summary.quantization,
                    "weights": summary.parameters,
                    "file_bytes": summary.size_bytes,
                    "planned_file_bytes": planned,
                    "bits_per_weight": round(summary.bits_per_weight, 4),
                    "seconds_of_all_together": round(time.perf_counter() - started, 1),
                    "peak_memory_bytes": hardware.peak_memory_bytes(),
                }
            )
    return rows


def buffers(run: Run) -> list[dict[str, Any]]:
    """Compare the plan's buffers with those that llama.cpp allocates."""
    path = run.file(run.options.quantizations[0])
    return [gpu_memory.check_buffers(path, run.machine, layers) for layers in run.layers()]


def load(run: Run) -> list[dict[str, Any]]:
    """Load every file in every placement, and measure memory and speed."""
    return [
        load_one(run, run.file(name), layers) for name in run.options.quantizations for layers in run.layers()
    ]


def load_one(run: Run, path: Path, gpu_layers: int) -> dict[str, Any]:
    """Plan, load, measure."""
    deepest = run.options.depths[-1]
    context = -(-(deepest + ANSWER_TOKENS + 1) // 256) * 256
    shape = planning.model_shape(gguf.validate(path))
    settings = LoadSettings(context_tokens=context, gpu_layers=gpu_layers)
    plan = planning.fit(shape, run.machine, settings=settings)
    before = gpu_memory.gpu_bytes_used()
    ours = Ours(model_file(path), run.comparison(), context_tokens=context, gpu_layers=gpu_layers)
    with ours.worker:
        speeds = [measure_depth(ours, depth) for depth in run.options.depths]
        process = gpu_memory.child_memory()
        used = gpu_memory.gpu_bytes_used()
    on_gpus = sum(device.needed_bytes for device in plan.devices[1:])
    copies = rearranged_bytes(shape, run.machine) * plan.devices[0].layers // shape.layers
    roofline = plan.speeds.roofline if plan.speeds else None
    shallow = speeds[0]["tokens_per_second"]
    return {
        "model": path.name,
        "gpu_layers": gpu_layers,
        "context_tokens": context,
        "plan": plan.to_mapping(),
        "load_seconds": round(ours.facts.load_seconds, 2),
        "gpu_memory": gpu_memory.compare(on_gpus, used - before) if used and before is not None else None,
        "process_memory": gpu_memory.compare(plan.devices[0].needed_bytes + copies, process.get("VmRSS")),
        "process_details": process,
        "speeds": speeds,
        "roofline_tokens_per_second": round(roofline, 1) if roofline else None,
        "share_of_roofline": round(shallow / roofline, 3) if roofline else None,
    }


def measure_depth(ours: Ours, depth: int) -> dict[str, float]:
    """Return the speed of a prompt of `depth` tokens and of the answer behind it: the median of three."""
    done = [ours.submit(ours.some_ids(depth), ANSWER_TOKENS).result().finished for _ in range(ROUNDS + 1)][1:]
    return {
        "depth": depth,
        "prompt_tokens_per_second": round(statistics.median(one.prompt_tokens_per_second for one in done), 1),
        "tokens_per_second": round(statistics.median(one.tokens_per_second for one in done), 2),
    }


def single(run: Run) -> list[dict[str, Any]]:
    """Compare one conversation with llama-bench."""
    options = run.comparison()
    options.prompt_tokens, options.generated_tokens = 512, 96
    rows = []
    for name in run.options.quantizations:
        ratios, _ = engine_single.compare(run.file(name), options)
        rows += [{"model": run.file(name).name} | ratio.to_mapping() for ratio in ratios]
    return rows


def batched(run: Run) -> list[dict[str, Any]]:
    """Compare four and eight conversations at once with llama-batched-bench."""
    options = run.comparison()
    options.prompt_tokens, options.generated_tokens = 64, 96
    path = run.file(run.options.quantizations[0])
    ratios = engine_batched.batched(path, options, unified=True)
    return [{"model": path.name} | ratio.to_mapping() for ratio in ratios]


STAGES: dict[str, Callable[[Run], list[dict[str, Any]]]] = {
    "convert": convert,
    "buffers": buffers,
    "load": load,
    "single": single,
    "batched": batched,
}


def keep(path: Path | None, run: Run, stage: str, rows: list[dict[str, Any]], seconds: float) -> None:
    """Write a stage's rows beside those of other stages and sizes."""
    if path is None:
        return
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    sizes = known.get("sizes", {})
    stages = sizes.setdefault(run.options.size, {})
    if rows:
        stages[stage] = {"seconds": round(seconds, 1), "rows": rows}
    gpus = [
        {
            "name": gpu.name,
            "description": gpu.description,
            "bytes": gpu.total_bytes,
            "bandwidth": gpu.bandwidth,
        }
        for gpu in run.machine.gpus
    ]
    facts = {
        "phi4local": __version__,
        "llama_cpp_python": version("llama-cpp-python"),
        "machine": hardware.describe(),
        "bandwidth_bytes_per_second": bandwidth.measured(),
        "gpus": gpus,
        "command": "python -m benchmarks.gpu --json benchmarks/results/gpu.json",
        "sizes": sizes,
    }
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def numbers(text: str) -> list[int]:
    """Parse "16,2048"."""
    return [int(part) for part in text.split(",")]


def main() -> None:
    """Parse, run the stages, write after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", default=",".join(STAGES), help="with commas between them")
    parser.add_argument("--size", choices=SIZES, default="14b")
    parser.add_argument("--quantizations", type=lambda text: text.split(","), default=list(QUANTIZATIONS))
    parser.add_argument("--depths", type=numbers, default=[16, 2048, 8192], help="growing, tokens of context")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "phi4local-gpu")
    parser.add_argument("--peers", type=Path, help="folder of llama.cpp's programs, of the same build")
    parser.add_argument("--pairs", type=int, default=pairs.FEWEST_PAIRS)
    parser.add_argument("--minutes", type=float, default=2, help="longest time for each group of rounds")
    parser.add_argument("--threads", type=int, default=hardware.usable_cores())
    parser.add_argument("--json", type=Path, help="write everything here; other stages in it are kept")
    options = parser.parse_args()
    run = Run(options)
    for stage in options.stages.split(","):
        started = time.perf_counter()
        rows = STAGES[stage](run)
        seconds = time.perf_counter() - started
        print(f"{stage}: {seconds:.0f} s", flush=True)
        for row in rows:
            print(
                json.dumps({name: value for name, value in row.items() if name not in ("settings", "plan")})
            )
        keep(options.json, run, stage, rows, seconds)


if __name__ == "__main__":
    main()
