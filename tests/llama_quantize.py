"""llama.cpp's own quantizer in a process of its own, the oracle for types and bytes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import gguf
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import ctypes, json, sys
import numpy as np
from llama_cpp import llama_cpp as library

NAMES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11,
         "Q4_K": 12, "Q5_K": 13, "Q6_K": 14, "IQ4_NL": 20, "IQ3_S": 21, "IQ4_XS": 23, "BF16": 30, "MXFP4": 39,
         "IQ2_XXS": 16, "TQ2_0": 35}

def parameters_of(job, keep):
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype, parameters.nthread = job["file_type"], 2
    parameters.pure, parameters.dry_run = job["pure"], job["dry_run"]
    parameters.allow_requantize = job["requantize"]
    if job["output"]:
        parameters.output_tensor_type = NAMES[job["output"]]
    if job["embedding"]:
        parameters.token_embedding_type = NAMES[job["embedding"]]
    if job["imatrix"]:
        found = np.load(job["imatrix"])
        entries = (library.llama_model_imatrix_data * (len(found.files) + 1))()
        for entry, name in zip(entries, found.files):
            values = np.ascontiguousarray(found[name], np.float32)
            keep += [values, name.encode()]
            entry.name, entry.size = keep[-1], values.size
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        keep.append(entries)
        parameters.imatrix = ctypes.cast(entries, type(parameters.imatrix))
    if job["overrides"]:
        rules = (library.llama_model_tensor_override * (len(job["overrides"]) + 1))()
        for rule, (pattern, kind) in zip(rules, job["overrides"]):
            rule.pattern, rule.type = pattern.encode(), NAMES[kind]
        rules[-1].type = 99
        keep.append(rules)
        parameters.tt_overrides = ctypes.cast(rules, type(parameters.tt_overrides))
    return parameters

source, jobs = sys.argv[1].encode(), json.loads(sys.argv[2])
for job in jobs:
    keep = []
    print("@@job", job["file_type"], file=sys.stderr, flush=True)
    code = library.llama_model_quantize(source, job["target"].encode(), parameters_of(job, keep))
    print("@@code", code, file=sys.stderr, flush=True)
"""


@dataclass(frozen=True)
class Job:
    """One call of `llama_model_quantize`. `imatrix` is a .npz of column weights by tensor."""

    quantization: str
    target: str = ""
    imatrix: str | None = None
    pure: bool = False
    output: str | None = None
    embedding: str | None = None
    overrides: tuple[tuple[str, str], ...] = field(default=())
    dry_run: bool = False
    requantize: bool = False


@dataclass(frozen=True)
class Outcome:
    """What the library said: whether it made the file, and the types that it logged."""

    made: bool
    types: dict[str, str]
    log: str

    @property
    def offending(self) -> str | None:
        """The tensor that needs an importance matrix."""
        found = re.search(r"offending tensor: (\S+)|for tensor (\S+) in a very low", self.log)
        return (found[1] or found[2]) if found else None


def quantize(source: Path, jobs: list[Job], *, timeout: float = 600) -> list[Outcome]:
    """Run all jobs on the GGUF file `source` in one process."""
    described = [asdict(job) | {"file_type": file_type(job.quantization)} for job in jobs]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(source), json.dumps(described)],
        capture_output=True,
        text=True,
        check=True,
        timeout=timeout,
    )
    return [_outcome(part) for part in done.stderr.split("@@job ")[1:]]


def file_type(quantization: str) -> int:
    """The number of a quantization in `general.file_type`."""
    prefix = "ALL_" if quantization == "F32" else "MOSTLY_"
    return int(gguf.LlamaFileType[prefix + quantization])


def _outcome(log: str) -> Outcome:
    line = r"\] (\S+) +- \[.*?type = +(\w+), (?:size = .*? MiB(?: -> .*?MiB \((\w+)\))?$|converting to (\w+))"
    found = re.findall(line, log, re.MULTILINE)
    types = {name: (chosen or made or source).upper() for name, source, chosen, made in found}
    return Outcome(log.rpartition("@@code ")[2].strip() == "0", types, log)


def random_columns(shapes: dict[str, int], seed: int = 3) -> dict[str, np.ndarray]:
    """Positive column weights over six powers of ten, by tensor name; `shapes` has the length of a row."""
    generator = np.random.default_rng(seed)
    return {
        name: np.exp(generator.normal(0, 2.5, columns)).astype(np.float32) for name, columns in shapes.items()
    }


def write_imatrix_gguf(path: Path, columns: dict[str, np.ndarray], *, count: int = 512) -> None:
    """Write the file that llama-imatrix writes: sums of squares, and how many there were."""
    writer = gguf.GGUFWriter(path, "")
    writer.kv_data[0].clear()
    writer.add_string("general.type", "imatrix")
    writer.add_array("imatrix.datasets", ["calibration.txt"])
    writer.add_uint32("imatrix.chunk_count", 125)
    writer.add_uint32("imatrix.chunk_size", count)
    for name, values in columns.items():
        writer.add_tensor(f"{name}.in_sum2", (values * np.float32(count)).astype(np.float32)[None])
        writer.add_tensor(f"{name}.counts", np.array([[count]], np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_imatrix_legacy(path: Path, columns: dict[str, np.ndarray], *, calls: int = 4) -> None:
    """Write the older format: names, calls and values, then the calls of all and the data set."""
    data = np.int32(len(columns)).tobytes()
    for name, values in columns.items():
        data += np.int32(len(name)).tobytes() + name.encode()
        data += np.int32([calls, values.size]).tobytes() + (values * np.float32(calls)).tobytes()
    data += np.int32([125, len("calibration.txt")]).tobytes() + b"calibration.txt"
    path.write_bytes(data)
