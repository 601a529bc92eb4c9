"""Run a program that a model wrote, in a process that may do little.

What it is given: an isolated Python without installed packages, an empty temporary folder, no environment, no
standard input or output. `locked_child` then takes away: processes, sockets, reading, writing and deleting of
files (an audit hook of Python); on Linux and macOS, by the operating system: CPU time, open files, sizes of
files; on Linux memory, and where the kernel lets a person do so the network (a namespace), files and signals
(Landlock).

What it does not protect against: an attack on the kernel; where the hook stands alone, one on Python itself.
Windows has the hook and the time limit only. Who fears more runs phi4local in a container; docs/eval.md has
the table.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

CHILD = Path(__file__).with_name("locked_child.py")
START_SECONDS = 10.0
"""For a Python on a busy machine to begin; the program's own time is counted in the child."""


def passes(program: str, timeout_seconds: float) -> bool:
    """Return whether a program runs to its end, without an error, in time.

    `sys.exit` is no end. On Linux and macOS the time is the clock's, from the program's first line on.

    Args:
        program: Python.
        timeout_seconds: how long it may run.

    Example: `passes("assert 1 + 1 == 2", 3.0)` is true.
    """
    # Only one who came to the end of the program tells the word: an early exit is no success.
    word = secrets.token_hex(16)
    text = f"{word}\n{timeout_seconds}\n{program}".encode("utf-8", "surrogatepass")
    kept = {"SYSTEMROOT": os.environ["SYSTEMROOT"]} if "SYSTEMROOT" in os.environ else {}
    with tempfile.TemporaryDirectory(prefix="phi4local-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(  # noqa: S603 - that is what it is for
            [sys.executable, "-I", "-S", "-X", "utf8", str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=kept,
            start_new_session=True,
        )
        try:
            told, _ = process.communicate(text, timeout=START_SECONDS + timeout_seconds)
        except subprocess.TimeoutExpired:
            return False
        finally:
            _end(process)
    return told.strip() == word.encode()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it, and what it may have started, and let go of its pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
