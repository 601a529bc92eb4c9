"""A machine as planning sees it: plain numbers, so that plans can be made for machines that are elsewhere."""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from phi4local.hardware import bandwidth
from phi4local.hardware.memory import available_bytes, memory_bytes
from phi4local.hardware.processor import instruction_sets, usable_cores

_ASKING_SECONDS = 30.0
_QUESTION = """\
import json, sys
from phi4local.native import devices
found = [
    {"name": d.name, "description": d.description, "back_end": d.back_end, "total_bytes": d.total_bytes,
     "free_bytes": d.free_bytes,
     "shares_memory": d.kind == devices.INTEGRATED_GPU or d.back_end in ("MTL", "Metal")}
    for d in devices.offload_devices()
]
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A device that layers can be put on.

    Attributes:
        name: ggml's name, such as `CUDA0`.
        description: the maker's name of it.
        back_end: ggml's back end, such as `CUDA`, `Vulkan` or `MTL` (Metal).
        total_bytes: its memory; on Metal the working-set limit.
        free_bytes: what was free when it was asked.
        shares_memory: its memory is the machine's main memory.
        bandwidth: bytes per second that it reads from its memory; `None` if unknown.
    """

    name: str
    description: str
    back_end: str
    total_bytes: int
    free_bytes: int
    shares_memory: bool = False
    bandwidth: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a plan needs to know.

    Attributes:
        memory_bytes: main memory.
        available_bytes: what a process may take of it without swapping.
        cores: physical cores that compute.
        instruction_sets: in ggml's spelling; they decide which weights are stored rearranged.
        gpus: in the order in which llama.cpp numbers them.
        bandwidth: bytes per second that all cores together read from main memory; `None` if not measured.

    Example: `Machine(memory_bytes=16 * 2**30, available_bytes=12 * 2**30, cores=8)`, a laptop without a GPU.
    """

    memory_bytes: int
    available_bytes: int
    cores: int
    instruction_sets: frozenset[str] = frozenset()
    gpus: tuple[Gpu, ...] = ()
    bandwidth: float | None = None


def this_machine(*, measure: bool = False) -> Machine:
    """Return what this machine has now.

    GPUs are asked about once, in a short child process: their drivers take memory and time, and some crash.

    Args:
        measure: measure the memory's bandwidth if that was not done before (half a second); otherwise it is
            read from the cache, if it is there.
    """
    return Machine(
        memory_bytes=memory_bytes(),
        available_bytes=available_bytes(),
        cores=usable_cores(),
        instruction_sets=instruction_sets(),
        gpus=_gpus(),
        bandwidth=bandwidth.measured() if measure else bandwidth.cached(),
    )


@functools.cache
def _gpus() -> tuple[Gpu, ...]:
    return gpus_now()


def gpus_now() -> tuple[Gpu, ...]:
    """Ask for GPUs and their free memory at this moment.

    None if llama.cpp is not there, or if asking ends or hangs the child process.
    """
    if not _built_for_gpus():
        return ()
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and program
            [sys.executable, "-c", _QUESTION], capture_output=True, timeout=_ASKING_SECONDS, check=True
        )
        found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
    return tuple(Gpu(**gpu, bandwidth=bandwidth.of_gpu(gpu["description"])) for gpu in found)


def _built_for_gpus() -> bool:
    """Return whether llama-cpp-python brings a back end beside the CPU's; a look at names costs nothing."""
    found = importlib.util.find_spec("llama_cpp")
    folders = [Path(place) / "lib" for place in (found and found.submodule_search_locations) or ()]
    names = {path.name.partition(".")[0] for folder in folders for path in folder.glob("*ggml-*")}
    return any(not name.endswith(("ggml-base", "ggml-cpu")) and "ggml-cpu-" not in name for name in names)
