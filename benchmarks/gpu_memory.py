"""What a model takes on each device, against the plan: two stages of benchmarks/gpu.py."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.streams import Ours, model_file
from phi4local import gguf, hardware, planning
from phi4local.planning.buffers import Cells
from phi4local.planning.layers import LayerBytes, place
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    import argparse

REPORTER = Path(__file__).parents[1] / "tests" / "llama_memory.py"
GGML_TYPES = {"f16": 1, "q8_0": 8}
CONTEXT_TOKENS = 4096
MIB = 2**20
SETTINGS = [
    Cells(context_tokens=tokens, sequences=9, batch_tokens=batch, kv_type=kind, flash_attention=fused)
    for tokens in (2048, 8192)
    for kind, fused in (("f16", True), ("q8_0", True), ("f16", False))
    for batch in (128, 512)
]


def report_of(path: Path, gpu_layers: int = 0) -> dict[str, Any]:
    """Return what llama.cpp reports about the buffers of a file, MiB by name, for all `SETTINGS`."""
    asked = [
        {
            "n_ctx": cells.context_tokens,
            "kv": GGML_TYPES[cells.kv_type],
            "fa": int(cells.flash_attention),
            "batch": cells.batch_tokens,
            "sequences": cells.sequences,
            "unified": True,
        }
        for cells in SETTINGS
    ]
    command = [sys.executable, str(REPORTER), str(path), json.dumps(asked), str(gpu_layers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def buffers(path: Path) -> dict[str, Any]:
    """Compare what llama.cpp reports about its buffers with the plan's arithmetic."""
    shape = planning.model_shape(gguf.read_header(path))
    machine = hardware.this_machine()
    rows: list[dict[str, Any]] = []
    for gpu_layers in (shape.layers + 1, shape.layers // 2, 0):
        reported = report_of(path, gpu_layers)
        for cells, sizes in zip(SETTINGS, reported["contexts"], strict=True):
            planned = place(shape, LayerBytes.of(shape), (cells,), machine, gpu_layers)
            rows.append(_compare(gpu_layers, cells, planned, reported["weights"] | sizes))
    return {"rows": rows, "worst": max((row.get("error", 0.0) for row in rows), default=0.0)}


def _compare(gpu_layers: int, cells: Cells, planned: Any, sizes: dict[str, float]) -> dict[str, Any]:  # noqa: ANN401
    """Return planned and reported MiB of each device, and the largest difference relative to the device."""
    kinds = {
        "model": "weight_bytes",
        "KV": "kv_bytes",
        "compute": "compute_bytes",
        "output": "output_bytes",
    }
    ours, theirs = {}, {}
    for device in planned:
        names = [device.name, f"{device.name}_Mapped", f"{device.name}_REPACK"]
        if device.name == "CPU":  # pinned memory of the main memory, and weights that stay there
            names += [name for name in {key.split()[1] for key in sizes} if name.endswith("_Host")]
        for kind, field in kinds.items():
            found = sum(sizes.get(f"{kind} {name}", 0.0) for name in names)
            ours[f"{kind} {device.name}"] = round(getattr(device, field) / MIB, 2)
            theirs[f"{kind} {device.name}"] = round(found, 2)
    # The CPU may have weights twice, mapped and rearranged; with a GPU its compute buffer holds inputs only.
    passed_over = ("model CPU", *(["compute CPU"] if gpu_layers else []))
    errors = {
        key: abs(ours[key] / theirs[key] - 1) for key in ours if theirs[key] > 1 and key not in passed_over
    }
    return {
        "gpu_layers": gpu_layers,
        "context_tokens": cells.context_tokens,
        "kv_type": cells.kv_type,
        "flash_attention": cells.flash_attention,
        "batch_tokens": cells.batch_tokens,
        "planned_mib": ours,
        "reported_mib": theirs,
        "error": round(max(errors.values(), default=0.0), 5),
        "worst": max(errors, key=lambda key: errors[key], default=""),
    }


def memory(paths: list[Path], options: argparse.Namespace) -> dict[str, Any]:
    """Load both files with all and half of the layers on the GPU; compare memory with the plan."""
    rows: list[dict[str, Any]] = []
    for path in paths:
        shape = planning.model_shape(gguf.read_header(path))
        for gpu_layers in (shape.layers + 1, shape.layers // 2):
            before = _gpu_used_bytes()
            settings = LoadSettings(context_tokens=CONTEXT_TOKENS, gpu_layers=gpu_layers)
            plan = planning.fit(shape, hardware.this_machine(measure=True), settings=settings)
            ours = Ours(model_file(path), options, context_tokens=CONTEXT_TOKENS, gpu_layers=gpu_layers)
            with ours.worker:
                ours.submit(ours.some_ids(512), 8).result()
                used = _gpu_used_bytes()
                peak = ours.worker.peak_memory_bytes()
            measured = None if used is None or before is None else used - before
            on_gpu = sum(device.needed_bytes for device in plan.devices[1:])
            rows.append(
                {
                    "model": path.name,
                    "gpu_layers": gpu_layers,
                    "verdict": plan.verdict,
                    "load_seconds": round(ours.facts.load_seconds, 2),
                    "planned_gpu_bytes": on_gpu,
                    "measured_gpu_bytes": measured,
                    "planned_process_bytes": plan.devices[0].needed_bytes,
                    "measured_process_bytes": peak,
                    "gpu_met": None
                    if measured is None
                    else abs(on_gpu - measured) <= 0.05 * measured + 150e6,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    return {"rows": rows}


def _gpu_used_bytes() -> int | None:
    """Return what is used on the first GPU; the driver's own context of a process counts."""
    with contextlib.suppress(OSError, subprocess.SubprocessError, ValueError):
        ask = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", "0"]
        done = subprocess.run(ask, capture_output=True, text=True, timeout=30, check=True)
        return int(done.stdout.split()[0]) * MIB
    return None
