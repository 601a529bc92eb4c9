"""Convert a checkpoint of Phi-4's true shapes, and record time, peak memory, and bytes read and written.

    python -m benchmarks.convert_memory --quantizations Q4_K_M \
        --output benchmarks/results/convert-memory.json

The checkpoint has 29.3 GB on paper: one megabyte in 32 holds random weights, the rest of the file is a hole
that reads as zeros, so it takes 0.9 GB of disk. The output is real, 9.1 GB for Q4_K_M, and is deleted. Blocks
of zeros are quantized faster than weights, so the time is no measure of speed (`benchmarks/convert.py` is);
memory, and what is read and written, do not depend on the weights. Linux only: the numbers are the kernel's,
from /proc/PID/status and /proc/PID/io of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.random_model import SIZES, write_checkpoint
from phi4local import __version__, hardware

_MEGABYTE = 2**20
_REAL_SHARE = 32

CHILD = """
import json, sys
from pathlib import Path
from phi4local.convert import convert_to_several

def fields(name):
    return dict(line.split(":") for line in Path("/proc/self/" + name).read_text().splitlines())

source, folder, names, memory, threads, kernels = json.loads(sys.argv[1])
before = fields("io")
made = convert_to_several(
    Path(source), {name: Path(folder) / (name + ".gguf") for name in names},
    memory_bytes=memory, threads=threads, kernels=kernels,
)
after = fields("io")
print(json.dumps({
    "seconds": round(made[0].seconds, 1),
    "stages": {**made[0].to_mapping()["stages"]},
    "peak_resident_bytes": int(fields("status")["VmHWM"].split()[0]) * 1024,
    "bytes_read": int(after["rchar"]) - int(before["rchar"]),
    "bytes_written": int(after["wchar"]) - int(before["wchar"]),
    "kernels": made[0].to_mapping()["kernels"],
    "kernel_loading_seconds": round(made[0].kernel_loading_seconds, 1),
    "outputs": {summary.quantization: summary.size_bytes for summary in made},
}))
"""


def sparse_checkpoint(folder: Path, size: str) -> int:
    """Write a checkpoint of one of `random_model.SIZES` that is mostly a hole; return the bytes of weights.

    Example: `sparse_checkpoint(folder, "14b")` → 29,319,014,400, of which 0.9 GB are on the disk.
    """
    weights = 2 * write_checkpoint(folder, SIZES[size], sparse=True)
    path = folder / "model.safetensors"
    begin = path.stat().st_size - weights
    piece = (
        np.random.default_rng(0).standard_normal(_MEGABYTE // 2, dtype=np.float32) * np.float32(0.02)
    ).view(np.uint32)
    stored = (piece >> 16).astype(np.uint16).tobytes()
    with path.open("rb+") as file:
        for place in range(begin, begin + weights - _MEGABYTE, _REAL_SHARE * _MEGABYTE):
            file.seek(place)
            file.write(stored)
    return weights


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Run one conversion in a process of its own and return what it took."""
    weights = sparse_checkpoint(scratch / "checkpoint", options.size)
    case = [
        str(scratch / "checkpoint"),
        str(scratch),
        options.quantizations.split(","),
        options.memory,
        options.threads,
        options.kernels,
    ]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(case)], check=True, stdout=subprocess.PIPE, text=True
    )
    return {"checkpoint_bytes_of_weights": weights, **json.loads(done.stdout)}


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", choices=tuple(SIZES), default="14b")
    parser.add_argument("--quantizations", default="Q4_K_M")
    parser.add_argument("--memory", type=int, default=2**30, help="bytes that the process may take")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--kernels", default="auto")
    parser.add_argument("--scratch", type=Path, default=None, help="folder with room for the outputs")
    parser.add_argument("--output", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        found = measure(options, Path(scratch))
    result = {
        "command": f"python -m benchmarks.convert_memory --size {options.size} "
        f"--quantizations {options.quantizations} --memory {options.memory} --kernels {options.kernels}",
        "machine": hardware.describe(),
        "versions": {"phi4local": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "memory_bytes_allowed": options.memory,
        **found,
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
