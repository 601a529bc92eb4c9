"""Numba's row quantizers against `ggml_quantize_chunk`: same process, alternating, one thread and two.

    python -m benchmarks.kernels --output benchmarks/results/kernels-$(uname -m).json

Each code generation (this processor's, and AVX2 forced) runs in child processes with a cache folder of their
own: the first compiles, the second loads what was compiled and measures. ggml is given float32, so it does
not pay for widening; the kernels are timed with float32 and with bf16. A ratio is the median over pairs of
neighbouring runs, because other people's work on the machine changes slower than that.
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

from phi4local import __version__, hardware
from phi4local.convert.kernels import Work
from phi4local.native.ggml import quantize_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TYPES = ("Q4_K", "Q5_K", "Q6_K", "Q8_0")
ROW = 5120
GENERATIONS: dict[str, dict[str, str]] = {
    "this processor": {},
    "AVX2 forced": {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": ""},
}


def weights(count: int) -> NDArray[np.float32]:
    """Return rows of normal numbers with a few outliers, (rows, ROW)."""
    draw = np.random.default_rng(0)
    values = draw.standard_normal((count // ROW, ROW), dtype=np.float32) * np.float32(0.02)
    values.reshape(-1)[draw.integers(0, values.size, values.size // 500)] *= np.float32(8)
    return values


def compile_all() -> dict[str, float]:
    """Return seconds to have each kernel ready, in the order of the calls; Q5_K is Q4_K's function."""
    started = time.perf_counter()
    from phi4local.convert.kernels import rows

    seconds = {"import": round(time.perf_counter() - started, 3)}
    for source in ("BF16", "F32"):
        for target in TYPES:
            seconds[f"{source} to {target}"] = round(rows.prepare([Work(source, target)]), 3)
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


def compare(target: str, values: NDArray[np.float32], rounds: int) -> dict[str, Any]:
    """Alternate ggml and the kernel, f32 and bf16, one thread and two."""
    from phi4local.convert.kernels import rows

    brain = (values.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    runs: dict[str, tuple[Callable[[NDArray[Any]], object], NDArray[Any]]] = {
        "ggml": (lambda part: quantize_rows(target, part), values),
        "f32": (lambda part: rows.quantize(Work("F32", target), part.reshape(-1).view(np.uint8)), values),
        "bf16": (lambda part: rows.quantize(Work("BF16", target), part.reshape(-1).view(np.uint8)), brain),
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


def measure(rounds: int, count: int) -> dict[str, Any]:
    """Run in a child process: load the kernels, then compare."""
    ready = compile_all()
    values = weights(count)
    found: dict[str, Any] = {"seconds_to_load": ready}
    for target in TYPES:
        found[target] = compare(target, values, rounds)
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


def everything(rounds: int, count: int) -> dict[str, Any]:
    """Compile in one child, measure in another, for each code generation."""
    found: dict[str, Any] = {
        "phi4local": __version__,
        "command": f"python -m benchmarks.kernels --rounds {rounds} --weights {count}",
        "machine": hardware.describe(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("numba", "llvmlite", "numpy", "llama-cpp-python")
        },
        "architecture": platform.machine(),
    }
    for name, environment in GENERATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            variables = {**environment, "PHI4LOCAL_CACHE": folder}
            cold = in_child("--child", "compile", environment=variables)
            measured = in_child(
                *("--child", "measure", "--rounds", str(rounds), "--weights", str(count)),
                environment=variables,
            )
            found[name] = {"seconds_to_compile": cold, **measured}
    return found


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--weights", type=int, default=ROW * 400)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--child", choices=("compile", "measure"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "compile":
        print(json.dumps(compile_all()))
    elif options.child == "measure":
        print(json.dumps(measure(options.rounds, options.weights)))
    else:
        text = json.dumps(everything(options.rounds, options.weights), indent=1)
        print(text)
        if options.output:
            options.output.parent.mkdir(exist_ok=True)
            options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
