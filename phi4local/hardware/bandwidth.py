"""How fast memory can be read: the limit of generation, since every token reads all weights once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from phi4local.hardware.processor import describe, usable_cores

_BLOCK_BYTES = 96 * 2**20
"""Read by each core in turn; more than the last-level caches of most processors hold for one core."""
_ROUNDS = 24

GPU_BANDWIDTH = {
    "H200": 4800e9,
    "H100 PCIe": 2039e9,
    "H100": 3350e9,
    "A100": 1555e9,
    "L40S": 864e9,
    "L4": 300e9,
    "T4": 320e9,
    "RTX 5090": 1792e9,
    "RTX 5080": 960e9,
    "RTX 5070 Ti": 896e9,
    "RTX 5070": 672e9,
    "RTX 4090 Laptop": 576e9,
    "RTX 4090": 1008e9,
    "RTX 4080": 717e9,
    "RTX 4070 Laptop": 256e9,
    "RTX 4070": 504e9,
    "RTX 4060 Laptop": 256e9,
    "RTX 4060": 272e9,
    "RTX 3090": 936e9,
    "RTX 3080": 760e9,
    "RTX 3070": 448e9,
    "RTX 3060": 360e9,
    "RX 7900 XTX": 960e9,
    "M4 Max": 546e9,
    "M4 Pro": 273e9,
    "M4": 120e9,
    "M3 Ultra": 819e9,
    "M3 Max": 400e9,
    "M3 Pro": 150e9,
    "M3": 100e9,
    "M2 Ultra": 800e9,
    "M2 Max": 400e9,
    "M2 Pro": 200e9,
    "M2": 100e9,
    "M1 Ultra": 800e9,
    "M1 Max": 400e9,
    "M1 Pro": 200e9,
    "M1": 68e9,
}
"""The makers' figures in bytes per second, longer names before the shorter ones that they contain."""


def of_gpu(description: str) -> float | None:
    """Return the maker's figure for a GPU; `None` if the table does not have it.

    Example: `of_gpu("NVIDIA H100 80GB HBM3")` → 3.35e12.
    """
    words = f" {description} "
    return next((figure for name, figure in GPU_BANDWIDTH.items() if f" {name} " in words), None)


def cached() -> float | None:
    """Return what was measured on this machine before, in bytes per second; `None` if nothing was."""
    with contextlib.suppress(OSError, RuntimeError, ValueError, KeyError, TypeError):  # no home is no cache
        return float(json.loads(_cache_file().read_text())["bytes_per_second"])
    return None


def measured() -> float:
    """Return the bandwidth of main memory, measured the first time.

    Example: 25e9 on two cores of an EPYC; laptops with two channels of DDR5 have 60e9 to 90e9.
    """
    known = cached()
    if known is not None:
        return known
    found = _measure()
    with contextlib.suppress(OSError, RuntimeError):
        file = _cache_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({"bytes_per_second": round(found)}))
        partial.replace(file)
    return found


def _measure() -> float:
    """Let every core read a block of its own, some times over, and return the best total of a round.

    Another program can only make a round slower, so the fastest one is nearest to what the machine can do.
    """
    import numpy as np

    cores = usable_cores()
    blocks = [np.ones(_BLOCK_BYTES // 4, dtype=np.float32) for _ in range(cores)]

    def read(block: Any) -> None:  # noqa: ANN401 - an array
        block.max()  # releases the GIL, and needs next to no arithmetic

    from concurrent.futures import ThreadPoolExecutor

    best = 0.0
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(_ROUNDS):
            started = time.perf_counter()
            list(pool.map(read, blocks))
            best = max(best, cores * _BLOCK_BYTES / (time.perf_counter() - started))
    return best


def _cache_file() -> Path:
    """Return the file for this machine: another processor, or another number of cores, is another one."""
    facts = describe()
    key = json.dumps([facts["processor"], facts["cores"], facts["memory_bytes"], platform.node()])
    name = hashlib.sha256(key.encode()).hexdigest()[:12]
    home = os.environ.get("PHI4LOCAL_HOME")
    folder = Path(home).expanduser() if home else Path.home() / ".phi4local"
    return folder / "machines" / f"{name}.json"
