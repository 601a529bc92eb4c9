"""What the plan says of each device's memory, beside what llama.cpp, the system and the GPU's driver say."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import gguf, planning
from phi4local.planning.buffers import Cells
from phi4local.planning.layers import LayerBytes, place

if TYPE_CHECKING:
    from phi4local.hardware import Machine

REPORTER = Path(__file__).parents[1] / "tests" / "llama_memory.py"
GGML_TYPES = {"f16": 1, "q8_0": 8}
MIB = 2**20
SETTINGS = [
    Cells(context_tokens=tokens, sequences=9, batch_tokens=batch, kv_type=kind, flash_attention=fused)
    for tokens in (2048, 8192)
    for kind, fused in (("f16", True), ("q8_0", True), ("f16", False))
    for batch in (128, 512)
]
"""Twelve: context x KV type with flash attention or without x batch."""


def check_buffers(path: Path, machine: Machine, gpu_layers: int) -> dict[str, Any]:
    """Return planned and reported MiB of each device, in each of `SETTINGS`, and the worst relative error.

    Buffers of pinned main memory (`CUDA_Host`) count as the CPU's. Weights are loaded without
    mapping the file and without rearranging them, since llama.cpp then says what the tensors take.
    """
    model = planning.model_shape(gguf.read_header(path))
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
    command = [sys.executable, str(REPORTER), str(path), json.dumps(asked), str(gpu_layers), "exact"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    reported = json.loads(done.stdout)
    rows: list[dict[str, Any]] = []
    for cells, context in zip(SETTINGS, reported["contexts"], strict=True):
        theirs = by_device(reported["weights"] | context)
        ours = _planned(place(model, LayerBytes.of(model), (cells,), machine, gpu_layers))
        errors = {
            name: round(size / theirs[name] - 1, 5) if theirs.get(name) else None
            for name, size in ours.items()
        }
        rows.append(
            {
                "context_tokens": cells.context_tokens,
                "kv_type": cells.kv_type,
                "flash_attention": cells.flash_attention,
                "batch_tokens": cells.batch_tokens,
                "planned_mib": ours,
                "reported_mib": theirs,
                "errors": errors,
            }
        )
    known = [abs(error) for row in rows for error in row["errors"].values() if error is not None]
    facts = {"model": path.name, "gpu_layers": gpu_layers, "bar": 0.01, "worst_error": max(known)}
    return facts | {"met": max(known) <= 0.01, "reported": reported["weights"], "settings": rows}


def by_device(reported: dict[str, float]) -> dict[str, float]:
    """Sum up llama.cpp's buffers by kind and device.

    Example: `{"KV CUDA0": 1280.0, "compute CUDA_Host": 14.0}` → `{"KV CUDA0": 1280.0, "compute CPU": 14.0}`.
    """
    sums: dict[str, float] = {}
    for name, size in reported.items():
        kind, _, buffer = name.partition(" ")
        device = "CPU" if buffer.startswith("CPU") or buffer.endswith("_Host") else buffer
        sums[f"{kind} {device}"] = round(sums.get(f"{kind} {device}", 0.0) + size, 2)
    return sums


def _planned(devices: tuple[Any, ...]) -> dict[str, float]:
    parts = {
        "model": "weight_bytes",
        "KV": "kv_bytes",
        "compute": "compute_bytes",
        "output": "output_bytes",
    }
    return {
        f"{kind} {device.name}": round(getattr(device, field) / MIB, 2)
        for device in devices
        for kind, field in parts.items()
        if getattr(device, field)
    }


def gpu_bytes_used() -> int | None:
    """Return the memory in use on the first NVIDIA GPU; `None` without its driver's nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(done.stdout.splitlines()[0]) * MIB if done.returncode == 0 and done.stdout.strip() else None


def child_memory() -> dict[str, int]:
    """Return bytes by kind of this process's largest child: `VmHWM` (peak), `VmRSS`, `RssAnon`, `RssFile`.

    Empty where there is no /proc.
    """
    largest: dict[str, int] = {}
    for children in Path("/proc/self/task").glob("*/children"):
        for number in children.read_text().split():
            sizes = _memory_of(Path("/proc") / number / "status")
            if sizes.get("VmRSS", 0) > largest.get("VmRSS", 0):
                largest = sizes
    return largest


def _memory_of(status: Path) -> dict[str, int]:
    try:
        lines = status.read_text().splitlines()
    except OSError:  # it has ended
        return {}
    pairs = (line.split(":") for line in lines if line.startswith(("VmHWM", "VmRSS", "RssAnon", "RssFile")))
    return {name: int(text.split()[0]) * 1024 for name, text in pairs}


def compare(predicted: float, measured: float | None) -> dict[str, Any]:
    """Return both and whether they are within 5 % + 150 MB, the bar of process memory."""
    if not measured:
        return {"predicted_bytes": int(predicted), "measured_bytes": None}
    met = abs(predicted - measured) <= 0.05 * measured + 150e6
    return {"predicted_bytes": int(predicted), "measured_bytes": int(measured), "met": met}
