"""Cores, instruction sets and what this process has used so far."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from pathlib import Path

from phi4local.hardware.memory import memory_bytes


@functools.cache
def usable_cores() -> int:
    """Return the physical cores that this process may use.

    Two hardware threads of one core share its arithmetic units, so counting them makes matrix work slower.
    Respects the affinity mask and a cgroup CPU quota. Example: 8 cores with 16 threads → 8.
    """
    allowed = _allowed_processors()
    cores = {_core_of(processor) for processor in allowed}
    if sys.platform == "darwin":
        count = _performance_cores_macos() or len(allowed)
    else:
        count = len(cores)
    quota = _cgroup_quota()
    return max(1, min(count, quota) if quota else count)


def peak_memory_bytes() -> int:
    """Return the largest resident size that this process ever had; 0 where the system does not tell.

    Linux counts what the process was before it ran this program, a copy of its parent, in getrusage's figure
    (exec_mmap in fs/exec.c); VmHWM of proc(5) is of this program only.
    """
    if sys.platform == "win32":
        return 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS


def page_reads() -> int:
    """Return how many pages this process has read from the disk; 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def describe() -> dict[str, str | int]:
    """Return processor, cores and memory, as benchmark results record them."""
    import platform

    return {
        "processor": _processor_name() or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "memory_bytes": memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _allowed_processors() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _core_of(processor: int) -> str:
    """Return a name that all hardware threads of one core share."""
    topology = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    try:
        return topology.read_text().strip()
    except OSError:
        return str(processor)


def _cgroup_quota() -> int | None:
    """Return whole cores of the cgroup v2 quota, rounded up. Example: `150000 100000` → 2."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else -(-int(quota) // int(period))


def _performance_cores_macos() -> int | None:
    for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            answer = subprocess.run(  # noqa: S603 - fixed command
                ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=2, check=True
            )
            return int(answer.stdout)
    return None


def instruction_sets() -> frozenset[str]:
    """Return the processor's extensions that matter to ggml, in its spelling; empty where unknown.

    Example: a Zen 4 has `{"AVX2", "AVX512", …}`, a Graviton 3 `{"NEON", "DOTPROD", "MATMUL_INT8", "SVE"}`.
    """
    if sys.platform == "darwin":
        return frozenset({"NEON", "DOTPROD"}) if os.uname().machine == "arm64" else frozenset()
    words = {word for name in ("flags", "Features") for word in _cpuinfo(name).split()}
    return frozenset(ours for ours, theirs in _INSTRUCTION_SETS.items() if theirs & words)


_INSTRUCTION_SETS = {
    "AVX2": {"avx2"},
    "AVX512": {"avx512f"},
    "AVX512_VNNI": {"avx512_vnni"},
    "AVX512_BF16": {"avx512_bf16"},
    "F16C": {"f16c"},
    "FMA": {"fma"},
    "NEON": {"asimd"},
    "DOTPROD": {"asimddp"},
    "MATMUL_INT8": {"i8mm"},
    "SVE": {"sve"},
}
"""ggml's name of an instruction set, and Linux's names of what it needs."""


def _processor_name() -> str:
    return _cpuinfo("model name")


def _cpuinfo(name: str) -> str:
    """Return the first value of `name` in Linux's description of the processors, or an empty text."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    return ""
