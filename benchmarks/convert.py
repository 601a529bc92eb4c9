"""`phi4local convert` against convert_hf_to_gguf.py and llama-quantize: same checkpoint, threads and disk.

    python -m benchmarks.build_peers
    python -m benchmarks.random_model --size 1.3b --checkpoint
    python -m benchmarks.convert --peer-python ../peer/bin/python --output benchmarks/results/convert.json

PEER-PYTHON is a Python with torch and transformers, which llama.cpp's converter needs. Rounds alternate: the
peers make BF16 and from it each quantization, then phi4local makes each quantization from the checkpoint.
The time of the peers is that of both programs; the BF16 file is made once a round and counts for each. A
ratio is the median over rounds. Numba's kernels were compiled before the first round, by a run that does not
count; loading them does. Peak memory is that of the largest process.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import build_peers, random_model
from phi4local import __version__, hardware

QUANTIZATIONS = {"Q4_K_M": ("ggml", "numba"), "Q8_0": ("ggml", "numba")}
"""What is made, and with which of phi4local's kernels."""

# The made-up vocabulary has no entry in the converter's table of tokenizers; its name is all that is missing.
PEER_CONVERTER = """
import runpy, sys
source = sys.argv.pop(1)
sys.path[:0] = [source, source + "/gguf-py"]
from conversion import base
base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "dbrx"
sys.argv[0] = source + "/convert_hf_to_gguf.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished program. Memory is the peak of what was resident; bytes are of the file that it made."""

    seconds: float
    processor_seconds: float
    memory_bytes: int
    file_bytes: int
    printed: str = ""


def run(command: list[str], output: Path) -> Run:
    """Run a program that makes `output`, and measure it."""
    output.unlink(missing_ok=True)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+") as problems:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=problems)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, problems):
            stream.seek(0)
        if process.returncode:
            raise SystemExit(f"{command[0]} ended with {process.returncode}:\n{problems.read()[-2000:]}")
        unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in bytes there
        return Run(
            seconds=round(seconds, 2),
            processor_seconds=round(used.ru_utime + used.ru_stime, 2),
            memory_bytes=used.ru_maxrss * unit,
            file_bytes=output.stat().st_size,
            printed=out.read(),
        )


class Contest:
    """The programs and where they work."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._checkpoint = str(random_model.cached_checkpoint(options.size))
        self._folder = folder
        self._threads = str(options.threads)
        self._peer_python = str(options.peer_python)
        self._peers = build_peers.find()

    def peer_converter(self) -> Run:
        """Make the BF16 file that llama-quantize starts from."""
        if self._peers is None:
            raise SystemExit("error: no peers\nhint: python -m benchmarks.build_peers")
        source = str(Path(self._peers.source))
        output = self._folder / "peer-BF16.gguf"
        options = [self._checkpoint, "--outtype", "bf16", "--outfile", str(output)]
        return run([self._peer_python, "-c", PEER_CONVERTER, source, *options], output)

    def peer_quantizer(self, quantization: str) -> Run:
        """Quantize the BF16 file."""
        if self._peers is None:
            raise SystemExit("error: no peers\nhint: python -m benchmarks.build_peers")
        program = str(self._peers.program("llama-quantize"))
        output = self._folder / f"peer-{quantization}.gguf"
        source = str(self._folder / "peer-BF16.gguf")
        return run([program, source, str(output), quantization, self._threads], output)

    def phi4local(self, quantization: str, kernels: str) -> Run:
        """Make a quantization from the checkpoint."""
        output = self._folder / f"{quantization}-{kernels}.gguf"
        command = [sys.executable, "-m", "phi4local", "convert", self._checkpoint, "-q", quantization]
        options = ["-o", str(output), "--threads", self._threads, "--kernels", kernels, "--json"]
        return run([*command, *options], output)


def measure(contest: Contest, rounds: int) -> dict[str, Any]:
    """Run all programs `rounds` times in turn and compare."""
    runs: dict[str, list[Run]] = {}
    summaries: dict[str, Any] = {}
    for quantization in QUANTIZATIONS:
        contest.phi4local(quantization, "numba")  # compiles what is not compiled yet
    for _ in range(rounds):
        runs.setdefault("convert_hf_to_gguf BF16", []).append(contest.peer_converter())
        for quantization, all_kernels in QUANTIZATIONS.items():
            name = f"llama-quantize {quantization}"
            runs.setdefault(name, []).append(contest.peer_quantizer(quantization))
            for kernels in all_kernels:
                name = f"phi4local {quantization} {kernels}"
                runs.setdefault(name, []).append(contest.phi4local(quantization, kernels))
                summaries[name] = json.loads(runs[name][-1].printed)
    return {
        "results": [
            compare(quantization, kernels, runs)
            for quantization, all_kernels in QUANTIZATIONS.items()
            for kernels in all_kernels
        ],
        "last summaries": summaries,
        "runs": {name: [asdict(one) | {"printed": ""} for one in some] for name, some in runs.items()},
    }


def compare(quantization: str, kernels: str, runs: dict[str, list[Run]]) -> dict[str, Any]:
    """Return medians of one quantization, and the median ratio of neighbours."""
    ours = runs[f"phi4local {quantization} {kernels}"]
    converter, quantizer = runs["convert_hf_to_gguf BF16"], runs[f"llama-quantize {quantization}"]
    peers = [first.seconds + second.seconds for first, second in zip(converter, quantizer, strict=True)]
    ratios = [theirs / one.seconds for theirs, one in zip(peers, ours, strict=True)]
    quantizer_ratios = [theirs.seconds / one.seconds for theirs, one in zip(quantizer, ours, strict=True)]
    return {
        "quantization": quantization,
        "kernels": kernels,
        "phi4local_seconds": statistics.median(one.seconds for one in ours),
        "peers_seconds": round(statistics.median(peers), 2),
        "llama_quantize_seconds": statistics.median(one.seconds for one in quantizer),
        "times_faster": round(statistics.median(ratios), 2),
        "times_faster_smallest": round(min(ratios), 2),
        "times_faster_largest": round(max(ratios), 2),
        "times_faster_than_llama_quantize_alone": round(statistics.median(quantizer_ratios), 2),
        "phi4local_memory_bytes": max(one.memory_bytes for one in ours),
        "peers_memory_bytes": max(one.memory_bytes for one in (*converter, *quantizer)),
        "phi4local_written_bytes": ours[0].file_bytes,
        "peers_written_bytes": converter[0].file_bytes + quantizer[0].file_bytes,
        "processor_share": round(
            statistics.median(one.processor_seconds / one.seconds for one in ours) / (os.cpu_count() or 1), 3
        ),
    }


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=random_model.SIZES, default="1.3b")
    parser.add_argument("--rounds", type=int, default=3, help="about two minutes each on two cores")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--folder", type=Path, help="where the files are made; 6 GB, removed at the end")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        measured = measure(Contest(options, Path(folder)), options.rounds)
    found = {
        "phi4local": __version__,
        "command": f"python -m benchmarks.convert --rounds {options.rounds} --threads {options.threads}",
        "checkpoint": f"random weights of Phi-4's architecture, {options.size}, BF16",
        "machine": hardware.describe(),
        "versions": {
            name: importlib.metadata.version(name) for name in ("llama-cpp-python", "numpy", "numba", "gguf")
        },
        **measured,
    }
    text = json.dumps(found, indent=1)
    print(json.dumps(found["results"], indent=1))
    if options.output:
        options.output.parent.mkdir(exist_ok=True)
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
