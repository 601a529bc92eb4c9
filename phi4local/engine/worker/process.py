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


def child_environment() -> dict[str, str]:
    """Return this process's variables; numpy's OpenBLAS gets no threads: the engine multiplies only rows."""
    return {"OPENBLAS_NUM_THREADS": "1", **os.environ}


def child_command(module: str) -> list[str]:
    """Return a command that calls `main()` of `module` with this process's import path.

    `-P` keeps the current folder off the path: a `numpy.py` lying there is not ours.

    Example: `child_command("phi4local.engine.worker.child")`.
    """
    path = [*filter(None, sys.path), _IMPORT_ROOT]
    return [sys.executable, "-P", "-c", _BOOT, module, json.dumps(path)]
