"""Numba's row quantizers against `ggml_quantize_chunk`: same process, alternating, one thread and two.

    python -m benchmarks.kernels --output benchmarks/results/kernels-$(uname -m).json
    python -m benchmarks.kernels_chart benchmarks/results/kernels-$(uname -m).json

Each code generation (this processor's, and AVX2 forced) runs in child processes with a cache folder of their
own: the first compiles, the second loads what was compiled and measures. `--generation` measures one of them
and keeps the other in the file. ggml is given float32, so it does not pay for widening; the kernels are timed
with float32 and with bf16. A ratio is the median over pairs of neighbouring runs, because other people's work
on the machine changes slower than that. Each type gets as many weights as ggml stores in about 0.2 seconds.

It needs Numba, numpy and llama-cpp-python's libraries, and no installation: `PYTHONPATH=CHECKOUT:WHEEL` with
a wheel of llama-cpp-python that was unpacked to WHEEL will do.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local import hardware
from phi4local.convert.kernels import Work
from phi4local.convert.kernels.speeds import ggml_speed
from phi4local.native.ggml import quantize_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

PLAIN = ("Q4_K", "Q5_K", "Q6_K", "Q3_K", "Q2_K", "IQ4_XS", "IQ4_NL", "Q8_0")
WEIGHTED = ("Q4_K", "Q5_K", "Q6_K", "Q3_K", "Q2_K", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
CASES = [(name, False) for name in PLAIN] + [(name, True) for name in WEIGHTED]
FIRST_OF_FAMILIES = (
    ("Q4_K", False),
    ("Q6_K", False),
    ("Q3_K", False),
    ("Q2_K", False),
    ("IQ4_XS", False),
    ("Q8_0", False),
    ("Q4_0", True),
)
ROW = 5120
GGML_SECONDS = 0.2
GENERATIONS: dict[str, dict[str, str]] = {
    "this processor": {},
    "AVX2 forced": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
}


def version_of(name: str) -> str:
    """Return the version of a package that is installed, not only on the path."""
    if name == "python":
        return platform.python_version()
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def weights(count: int) -> NDArray[np.float32]:
    """Return rows of normal numbers with a few outliers, (rows, ROW)."""
    draw = np.random.default_rng(0)
    values = draw.standard_normal((count // ROW, ROW), dtype=np.float32) * np.float32(0.02)
    values.reshape(-1)[draw.integers(0, values.size, values.size // 500)] *= np.float32(8)
    return values


def compile_all() -> dict[str, float]:
    """Return seconds to have each family ready, in the order of the calls; families share parts."""
    started = time.perf_counter()
    from phi4local.convert.kernels import rows

    seconds = {"import": round(time.perf_counter() - started, 3)}
    for target, weighted in FIRST_OF_FAMILIES:
        work = Work("BF16", target, weighted)
        seconds[work.family] = round(rows.prepare([work]), 3)
    return seconds


def in_threads(
    executor: ThreadPoolExecutor, threads: int, work: Callable[[NDArray[Any]], object], rows: NDArray[Any]
) -> float:
    """Return the seconds that `work` takes for all rows, cut into one piece for each thread."""
    pieces = np.array_split(rows, threads)
    started = time.perf_counter()
    for job in [executor.submit(work, piece) for piece in pieces]:
        job.result()
    return time.perf_counter() - started


def compare(target: str, columns: NDArray[np.float32] | None, rounds: int) -> dict[str, Any]:
    """Alternate ggml and the kernel, f32 and bf16, one thread and two."""
    from phi4local.convert.kernels import rows

    speed = ggml_speed(target, weighted=columns is not None)
    values = weights(max(100, int(speed * 1e6 * GGML_SECONDS / ROW)) * ROW)
    brain = (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)

    def with_kernel(source: str) -> Callable[[NDArray[Any]], object]:
        work = Work(source, target, columns is not None)
        return lambda part: rows.quantize(work, part.reshape(-1).view(np.uint8), columns)

    runs: dict[str, tuple[Callable[[NDArray[Any]], object], NDArray[Any]]] = {
        "ggml": (lambda part: quantize_rows(target, part, columns), values),
        "f32": (with_kernel("F32"), values),
        "bf16": (with_kernel("BF16"), brain),
    }
    seconds: dict[str, list[float]] = {f"{name} {n}": [] for name in runs for n in (1, 2)}
    with ThreadPoolExecutor(2) as executor:
        for _ in range(rounds):
            for threads in (1, 2):
                for name, (work, rows_in) in runs.items():
                    seconds[f"{name} {threads}"].append(in_threads(executor, threads, work, rows_in))
    return summary(seconds, values.size)


def summary(seconds: dict[str, list[float]], count: int) -> dict[str, Any]:
    """Return median rates in million weights a second, and medians of the ratios of neighbours."""

    def ratio(over: str, under: str) -> float:
        pairs = zip(seconds[over], seconds[under], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 2)

    found: dict[str, Any] = {
        f"{name} megaweights_per_second": round(count / statistics.median(times) / 1e6, 1)
        for name, times in seconds.items()
    }
    for threads in (1, 2):
        for source in ("f32", "bf16"):
            found[f"ratio {source} {threads}"] = ratio(f"ggml {threads}", f"{source} {threads}")
    found["two threads over twice one, f32"] = round(ratio("f32 1", "f32 2") / 2, 2)
    found["two threads over twice one, ggml"] = round(ratio("ggml 1", "ggml 2") / 2, 2)
    return found


def measure(rounds: int) -> dict[str, Any]:
    """Run in a child process: load the kernels, then compare."""
    found: dict[str, Any] = {"seconds_to_load": compile_all()}
    columns = np.random.default_rng(1).random(ROW, dtype=np.float32)
    for target, weighted in CASES:
        name = f"{target} with an imatrix" if weighted else target
        found[name] = compare(target, columns if weighted else None, rounds)
    return found


def in_child(*arguments: str, environment: dict[str, str]) -> Any:  # noqa: ANN401 - JSON
    """Run this program again and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels", *arguments],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def everything(rounds: int, generations: list[str], before: dict[str, Any]) -> dict[str, Any]:
    """Compile in one child, measure in another, for each code generation; keep the others from `before`."""
    found: dict[str, Any] = {
        "phi4local": version_of("phi4local"),
        "command": f"python -m benchmarks.kernels --rounds {rounds}",
        "machine": hardware.describe(),
        "versions": {
            name: version_of(name) for name in ("python", "numba", "llvmlite", "numpy", "llama-cpp-python")
        },
        "architecture": platform.machine(),
    }
    for name, environment in GENERATIONS.items():
        if name not in generations:
            found |= {name: before[name]} if name in before else {}
            continue
        with tempfile.TemporaryDirectory() as folder:
            variables = {**environment, "PHI4LOCAL_CACHE": folder}
            cold = in_child("--child", "compile", environment=variables)
            measured = in_child("--child", "measure", "--rounds", str(rounds), environment=variables)
            found[name] = {"seconds_to_compile": cold, **measured}
    return found


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--generation", choices=GENERATIONS, action="append")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--child", choices=("compile", "measure"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "compile":
        print(json.dumps(compile_all()))
    elif options.child == "measure":
        print(json.dumps(measure(options.rounds)))
    else:
        output = options.output
        before = json.loads(output.read_text()) if output and output.exists() else {}
        text = json.dumps(everything(options.rounds, options.generation or [*GENERATIONS], before), indent=1)
        print(text)
        if output:
            output.parent.mkdir(exist_ok=True)
            output.write_text(text + "\n")


if __name__ == "__main__":
    main()
