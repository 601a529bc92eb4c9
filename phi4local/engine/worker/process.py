"""Modules of this package in a child process: the command line, and what the child does first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO

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


def prepare_child() -> None:
    """Make this process a child that dies quietly: no prompt, no core file, and before its parent."""
    # Ctrl-C reaches the whole terminal group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["GGML_NO_BACKTRACE"] = "1"  # ggml would start a debugger before it aborts
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # Linux: when memory runs out, this process goes before its parent
        Path("/proc/self/oom_score_adj").write_text("500")


def take_standard_output() -> IO[bytes]:
    """Keep the pipe for replies, and send to stderr whatever native code prints."""
    sys.stdout.flush()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return replies
