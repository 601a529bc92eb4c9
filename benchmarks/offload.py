"""Every way to place a model on the devices of this machine: the same answers, and how fast.

    python -m benchmarks.offload [--model FILE] [--json FILE]

- phi4-nano in F32: the greedy answers to ten prompts have to be the ids of transformers
  (models/phi4-nano/expected-greedy.json), wherever the weights are.
- With `--model`: load time, speeds, and how many greedy tokens equal those of the first placement. Random
  weights make near-ties, so where two answers part the difference of the two best log-probabilities is given.

Without a GPU only what a CPU can do is run.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import pairs
from benchmarks.streams import Ours, model_file
from phi4local.convert import convert_checkpoint
from phi4local.engine import Request
from phi4local.native import devices
from phi4local.prompts import TokenSegment
from phi4local.settings import SamplingSettings

NANO = Path(__file__).resolve().parent.parent / "models" / "phi4-nano"
PROMPTS, GREEDY_TOKENS = 4, 48


def placements(layers: int, gpus: list[str]) -> dict[str, dict[str, Any]]:
    """Return settings by name, for a model of so many layers and the GPUs of this machine."""
    upper = "|".join(str(layer) for layer in range(layers // 2, layers))
    override = rf"blk\.({upper})\.ffn_.*=CPU"
    on_cpu: dict[str, dict[str, Any]] = {
        "CPU": {"gpu_layers": 0},
        "CPU, tensors overridden": {"gpu_layers": 0, "tensor_overrides": (override,)},
    }
    if not gpus:
        return on_cpu
    every = layers + 1
    one = {"split_mode": "none", "main_gpu": 0}
    on_gpu: dict[str, dict[str, Any]] = {
        "GPU": {"gpu_layers": every, **one},
        "GPU, no flash attention": {"gpu_layers": every, "flash_attention": False, **one},
        "half the layers on the GPU": {"gpu_layers": every // 2, **one},
        "GPU, KV cache in main memory": {"gpu_layers": every, "kv_offload": False, **one},
        "GPU, upper feed-forward on the CPU": {"gpu_layers": every, "tensor_overrides": (override,), **one},
    }
    if len(gpus) < 2:
        return {"CPU": on_cpu["CPU"]} | on_gpu
    return (
        {"CPU": on_cpu["CPU"]}
        | on_gpu
        | {
            "the second GPU": {"gpu_layers": every, "split_mode": "none", "main_gpu": 1},
            "two GPUs by layers": {"gpu_layers": every, "split_mode": "layer"},
            "two GPUs by layers, 3 to 1": {
                "gpu_layers": every,
                "split_mode": "layer",
                "tensor_split": (3.0, 1.0),
            },
            "upper feed-forward on the second GPU": {
                "gpu_layers": every,
                "tensor_overrides": (override.replace("=CPU", f"={gpus[1]}"),),
                "tensor_split": (1.0, 0.0),
            },
        }
    )


def check_nano(gpus: list[str], options: argparse.Namespace) -> list[pairs.Limit]:
    """Count phi4-nano's wrong answers in every placement."""
    cases = json.loads((NANO / "expected-greedy.json").read_text(encoding="utf-8"))["greedy"]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nano-F32.gguf"
        convert_checkpoint(NANO, path, "F32")
        file = model_file(path)
        for name, settings in placements(file.layers, gpus).items():
            ours = Ours(file, options, **settings | {"context_tokens": 512})
            with ours.worker:
                answers = [greedy(ours, case["prompt_ids"], 64, ignore_end=False) for case in cases]
            wrong = sum(ids != case["generated_ids"] for (ids, _), case in zip(answers, cases, strict=True))
            results.append(pairs.Limit(f"phi4-nano F32, {name}", wrong, 0, "wrong answers of 10"))
            print(results[-1].row(), flush=True)
    return results


def measure(model: Path, gpus: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return load time, speeds and equal tokens of a model in every placement."""
    file = model_file(model)
    rows: list[dict[str, Any]] = []
    reference: list[tuple[list[int], list[float]]] = []
    for name, settings in placements(file.layers, gpus).items():
        ours = Ours(file, options, **settings | {"context_tokens": 1024})
        choose = random.Random(3)
        prompts = [choose.choices(range(100, ours.highest_id), k=64) for _ in range(PROMPTS)]
        with ours.worker:
            answers = [greedy(ours, prompt, GREEDY_TOKENS, ignore_end=True) for prompt in prompts]
            reference = reference or answers
            ours.prompt_speed(512)
            compared = [compare(*pair) for pair in zip(answers, reference, strict=True)]
            row = {
                "placement": name,
                "settings": settings,
                "load_seconds": round(ours.facts.load_seconds, 3),
                "prompt_tokens_per_second": round(ours.prompt_speed(512), 1),
                "tokens_per_second": round(
                    ours.speeds([{}], prompt_tokens=8, generated_tokens=64).each[0], 2
                ),
                "answers": compared,
            }
        rows.append(row)
        equal = [answer["equal_tokens"] for answer in compared]
        gaps = [answer["gap"] for answer in compared if answer["gap"] is not None]
        print(
            f"{name:38} load {row['load_seconds']:6.2f} s  prompt {row['prompt_tokens_per_second']:9.1f}/s  "
            f"answer {row['tokens_per_second']:7.2f}/s  equal {equal} of {GREEDY_TOKENS}  gaps {gaps}",
            flush=True,
        )
    return rows


def greedy(ours: Ours, prompt: list[int], tokens: int, *, ignore_end: bool) -> tuple[list[int], list[float]]:
    """Return the likeliest tokens and, for each, the log-probability that it is ahead of the second one."""
    request = Request(
        segments=(TokenSegment(tuple(prompt)),),
        sampling=SamplingSettings(temperature=0, logprobs=2),
        max_tokens=tokens,
        ignore_end=ignore_end,
    )
    answer = ours.worker.submit(request).result()
    gaps = [entry.top[0][1] - entry.top[1][1] for entry in answer.logprobs or ()]
    return list(answer.token_ids), gaps


def compare(
    answer: tuple[list[int], list[float]], reference: tuple[list[int], list[float]]
) -> dict[str, float | None]:
    """Return how many tokens are equal, and how far ahead the reference's was where they part."""
    equal = next((i for i, (a, b) in enumerate(zip(answer[0], reference[0], strict=True)) if a != b), None)
    if equal is None:
        return {"equal_tokens": len(reference[0]), "gap": None}
    return {"equal_tokens": equal, "gap": round(reference[1][equal], 5)}


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    pairs.add_options(parser)
    parser.add_argument("--no-nano", action="store_true", help="leave phi4-nano out")
    options = parser.parse_args()
    found = devices.offload_devices()
    for device in found:
        print(f"{device.name}: {device.description}, {device.total_bytes / 1e9:.1f} GB")
    gpus = [device.buffer_type for device in found]
    results = [] if options.no_nano else check_nano(gpus, options)
    rows = measure(options.model, gpus, options) if options.model else []
    facts = {"command": "python -m benchmarks.offload", "devices": [device.description for device in found]}
    name = options.model.name if options.model else None
    pairs.write(options.json, results, **facts, model=name, placements=rows)
    sys.exit(not all(result.met for result in results))


if __name__ == "__main__":
    main()
