"""Phi-4's true size on one GPU: convert, plan, load, generate, and llama.cpp's own programs beside it.

    python -m benchmarks.gpu --peers FOLDER --json benchmarks/results/gpu.json

Stages, all by default; `--stages plan,speed` runs some of them with the files of an earlier run:

- convert: a random checkpoint of Phi-4's shapes is made in memory while it is read, for both files at once;
- buffers: what llama.cpp reports for weights, KV cache and compute buffer of each device, for twelve settings
  and all, half or no layers on the GPU, against the plan (1 %);
- memory: of the GPU and of the process, with each placement, against the plan (5 % + 150 MB);
- speed: tokens per second of a prompt and of an answer, beside llama-bench, with the share of the roofline
  and what the plan predicted (20 %); all layers on the GPU, and half of them;
- streams: eight conversations, beside llama-batched-bench.

The file is written after every stage. About eight minutes on an H100 with 16 cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import build_peers, pairs
from benchmarks.gpu_memory import CONTEXT_TOKENS, buffers, memory
from benchmarks.peers import Peer
from benchmarks.random_model import SIZES, streamed_checkpoint
from benchmarks.streams import Ours, model_file
from phi4local import gguf, hardware, planning
from phi4local.convert import convert_to_several
from phi4local.native.build import cache_folder
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = ("convert", "buffers", "memory", "speed", "streams")
QUANTIZATIONS = ("Q4_K_M", "Q8_0")
STREAMS = 8


def main() -> None:
    """Parse, run the stages, write after each."""
    options = _options()
    facts: dict[str, Any] = {}
    if options.json and options.json.exists():
        facts = json.loads(options.json.read_text(encoding="utf-8")).get("stages", {})
    for stage in options.stages.split(","):
        started = time.monotonic()
        facts[stage] = RUN[stage](options)
        facts[stage]["seconds"] = round(time.monotonic() - started, 1)
        print(f"{stage}: {facts[stage]['seconds']} s", flush=True)
        gpus = [gpu.description for gpu in hardware.this_machine().gpus]
        command = f"python -m benchmarks.gpu --size {options.size}"
        pairs.write(options.json, [], command=command, gpus=gpus, stages=facts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_options(parser, prompt_tokens=512, generated_tokens=128)
    parser.set_defaults(pairs=8, most_pairs=8, minutes=2.0)
    parser.add_argument("--stages", default=",".join(STAGES), help="with commas between them")
    parser.add_argument("--size", choices=SIZES, default="14b")
    parser.add_argument("--folder", type=Path, help="of the models; the cache folder if not")
    options = parser.parse_args()
    if options.peers is None and (found := build_peers.find()):
        options.peers = found.bin
    return options


def _file(options: argparse.Namespace, quantization: str) -> Path:
    folder = options.folder or cache_folder({}) / "models"
    return Path(folder) / f"random-{options.size}-{quantization}.gguf"


def convert(options: argparse.Namespace) -> dict[str, Any]:
    """Convert the checkpoint to both quantizations in one read."""
    outputs = {name: _file(options, name) for name in QUANTIZATIONS}
    outputs["Q4_K_M"].parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / f"random-{options.size}"
        with streamed_checkpoint(named, SIZES[options.size]) as checkpoint:
            made = convert_to_several(checkpoint, outputs, overwrite=True)
    return {
        "peak_memory_bytes": hardware.peak_memory_bytes(),
        "files": [
            {"quantization": one.quantization, "size_bytes": one.size_bytes, "limiting": one.stages.limiting}
            for one in made
        ],
        "conversion_seconds": round(made[0].seconds, 1),
    }


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Measure one conversation beside llama-bench, with all and half of the layers on the GPU."""
    rows = []
    for quantization in QUANTIZATIONS:
        path = _file(options, quantization)
        shape = planning.model_shape(gguf.read_header(path))
        for gpu_layers, rounds in ((shape.layers + 1, options.pairs), (shape.layers // 2, 2)):
            if gpu_layers <= shape.layers and quantization != "Q4_K_M":
                continue
            rows.append(_single(path, gpu_layers, rounds, options))
            print(json.dumps({k: v for k, v in rows[-1].items() if k != "results"}), flush=True)
    return {"rows": rows}


def _single(path: Path, gpu_layers: int, rounds: int, options: argparse.Namespace) -> dict[str, Any]:
    peer = Peer(folder=options.peers, model=path, threads=options.threads, gpu_layers=gpu_layers)
    settings = LoadSettings(context_tokens=CONTEXT_TOKENS, gpu_layers=gpu_layers)
    machine = hardware.this_machine(measure=True)
    plan = planning.fit(gguf.read_header(path), machine, settings=settings)
    ratios = {
        name: pairs.Ratio(f"{path.stem}, {gpu_layers} layers: {name}", 0.97)
        for name in ("prompt", "generation")
    }
    ours = Ours(
        model_file(path), options, context_tokens=CONTEXT_TOKENS, gpu_layers=gpu_layers, step_seconds=0.0
    )
    lengths = {"prompt_tokens": options.prompt_tokens, "generated_tokens": options.generated_tokens}

    def round_(_number: int) -> None:
        prompt, generation = peer.llama_bench(**lengths)
        ratios["prompt"].add(ours.prompt_speed(options.prompt_tokens), prompt)
        alone = ours.speeds([{}], prompt_tokens=8, generated_tokens=options.generated_tokens)
        ratios["generation"].add(alone.each[0], generation)

    with ours.worker:
        ours.prompt_speed(options.prompt_tokens)
        ours.speeds([{}], prompt_tokens=8, generated_tokens=options.generated_tokens)
        limited = argparse.Namespace(pairs=rounds, most_pairs=rounds, minutes=options.minutes)
        pairs.run(list(ratios.values()), round_, limited)
    rates = {name: pairs.median_interval(ratio.ours)[1] for name, ratio in ratios.items()}
    speeds = plan.speeds
    return {
        "model": path.name,
        "gpu_layers": gpu_layers,
        "verdict": plan.verdict,
        "prompt_tokens_per_second": round(rates["prompt"], 1),
        "tokens_per_second": round(rates["generation"], 2),
        "predicted_prompt": round(speeds.prompt.expected, 1) if speeds else None,
        "predicted": round(speeds.generation.expected, 2) if speeds else None,
        "roofline": round(speeds.roofline, 2) if speeds else None,
        "share_of_roofline": round(rates["generation"] / speeds.roofline, 3) if speeds else None,
        "bandwidths": [machine.bandwidth, *(gpu.bandwidth for gpu in machine.gpus)],
        "results": [ratio.to_mapping() for ratio in ratios.values()],
    }


def streams(options: argparse.Namespace) -> dict[str, Any]:
    """Measure eight conversations beside llama-batched-bench."""
    path = _file(options, "Q4_K_M")
    peer = Peer(folder=options.peers, model=path, threads=options.threads, gpu_layers=99)
    lengths = {"prompt_tokens": 64, "generated_tokens": options.generated_tokens}
    room = -(-(sum(lengths.values()) + 1) // 256) * 256
    ratio = pairs.Ratio(f"{path.stem}: {STREAMS} streams together", 0.95)
    ours = Ours(model_file(path), options, parallel=STREAMS, context_tokens=room, gpu_layers=99)

    def measure_ours() -> None:
        ratio.ours.append(ours.speeds([{}] * STREAMS, **lengths).together)

    def measure_theirs() -> None:
        rows = peer.batched_bench(streams=(STREAMS,), **lengths, unified=True)
        ratio.theirs.append(rows[STREAMS]["speed_tg"])

    with ours.worker:
        measure_ours()
        ratio.ours.clear()
        pairs.run([ratio], pairs.alternate(measure_ours, measure_theirs), options)
    return {"results": [ratio.to_mapping()]}


RUN: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "convert": convert,
    "buffers": lambda options: buffers(_file(options, "Q4_K_M")),
    "memory": lambda options: memory([_file(options, name) for name in QUANTIZATIONS], options),
    "speed": speed,
    "streams": streams,
}


if __name__ == "__main__":
    main()
