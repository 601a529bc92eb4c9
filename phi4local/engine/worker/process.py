"""The command line that runs a module of this package in a child process."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

_IMPORT_ROOT = str(Path(__file__).resolve().parents[3])
_BOOT = (
    "import importlib, json, sys; "
    "sys.path[:] = json.loads(sys.argv[2]); "
    "importlib.import_module(sys.argv[1]).main()"
)

_SPIN_COUNT = "1000"
"""How long a thread of libgomp spins before it sleeps. Its default of 300,000 (a millisecond) makes a busy
machine ten times slower: threads burn the time slices that others of them wait for. See benchmarks/LOG.md."""


def child_environment() -> dict[str, str]:
    """Return this process's variables, with fewer busy threads unless the person chose.

    libgomp sleeps sooner, and numpy's OpenBLAS has no threads: the engine multiplies only single rows.
    """
    return {"GOMP_SPINCOUNT": _SPIN_COUNT, "OPENBLAS_NUM_THREADS": "1", **os.environ}


def child_command(module: str) -> list[str]:
    """Return a command that calls `main()` of `module` with this process's import path.

    `-P` keeps the current folder off the path: a `numpy.py` lying there is not ours.

    Example: `child_command("phi4local.engine.worker.child")`.
    """
    path = [*filter(None, sys.path), _IMPORT_ROOT]
    return [sys.executable, "-P", "-c", _BOOT, module, json.dumps(path)]
