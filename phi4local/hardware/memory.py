"""Main memory: what is there, and what a process may still take."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")


def memory_bytes() -> int:
    """Return the machine's main memory; 0 where the system does not tell."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _windows_memory()[0] if sys.platform == "win32" else 0


def available_bytes() -> int:
    """Return what a process may take without swapping, within the limits of its cgroups; 0 if unknown.

    Memory that only caches files counts as available.

    Source: MemAvailable of proc(5); memory.max and memory.current of cgroup v2, and the v1 files of the same
    meaning; on macOS the pages that vm_stat calls free, inactive, speculative or purgeable.
    """
    if sys.platform == "darwin":
        return _macos_available()
    if sys.platform == "win32":
        return _windows_memory()[1]
    known = [_meminfo("MemAvailable"), *_cgroup_rooms()]
    return min((room for room in known if room is not None), default=0)


def _meminfo(name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
    return None


def _cgroup_rooms() -> list[int]:
    """Return what is left below the limit of each cgroup that this process is in."""
    rooms = []
    for folder in _cgroup_folders():
        names = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
        for limit_name, usage_name in names:
            with contextlib.suppress(OSError, ValueError):
                limit = int((folder / limit_name).read_text())  # "max" is no number: no limit
                used = int((folder / usage_name).read_text()) - _file_cache(folder)
                rooms.append(max(0, limit - used))
    return rooms


def _cgroup_folders() -> list[Path]:
    folders = [_CGROUPS, _CGROUPS / "memory"]
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _number, controllers, name = line.split(":", 2)
            if controllers in ("", "memory"):
                own = _CGROUPS / controllers / name.lstrip("/")
                folders += [own, *(parent for parent in own.parents if _CGROUPS in parent.parents)]
    return folders


def _file_cache(folder: Path) -> int:
    """Return the cgroup's cached file pages that the system takes back when it needs them."""
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0


def _macos_available() -> int:
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        answer = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, timeout=2, check=True)
        pages = dict(line.split(":", 1) for line in answer.stdout.splitlines()[1:] if ":" in line)
        wanted = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")
        return sum(int(pages[name].strip(" .")) for name in wanted) * os.sysconf("SC_PAGE_SIZE")
    return 0


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX of sysinfoapi.h."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


def _windows_memory() -> tuple[int, int]:
    status = _MemoryStatus(length=ctypes.sizeof(_MemoryStatus))
    kernel = getattr(ctypes, "windll", None)
    if kernel is None or not kernel.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return 0, 0
    return int(status.total), int(status.available)
