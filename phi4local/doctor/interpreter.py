"""Python, and the terminal that it writes to."""

from __future__ import annotations

import platform
import sys

from phi4local.doctor.result import OK, SKIPPED, WARNING, WRONG, Result

OLDEST = (3, 11)


def check() -> Result:
    """Say whether this Python can run phi4local; an older one rarely comes so far."""
    bits = 64 if sys.maxsize > 2**32 else 32
    venv = "virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    seen = f"{platform.python_version()}, {bits} bit, {venv}, {sys.executable}"
    if sys.version_info < OLDEST or bits == 32:
        advice = "phi4local needs a 64-bit Python 3.11 or newer: install one, and phi4local with it"
        return Result(name="python", state=WRONG, seen=seen, advice=advice)
    return Result(name="python", state=OK, seen=seen)


def check_terminal() -> Result:
    """Say whether the terminal shows every character that a model writes."""
    if not sys.stdout.isatty():
        return Result(name="terminal", state=SKIPPED, seen="the output is no terminal; UTF-8 is written")
    encoding = (sys.stdout.encoding or "ascii").lower()
    if encoding.replace("-", "") in ("utf8", "cp65001"):
        return Result(name="terminal", state=OK, seen="UTF-8")
    seen = f"{encoding}: letters that it does not know are shown as `?`"
    command = "chcp 65001" if sys.platform == "win32" else "export LC_ALL=C.UTF-8"
    return Result(name="terminal", state=WARNING, seen=seen, command=command)
