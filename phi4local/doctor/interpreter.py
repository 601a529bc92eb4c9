"""Python, the packages that phi4local uses, and the terminal that it writes to."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shlex
import sys
from typing import TYPE_CHECKING

from phi4local.doctor.library import PACKAGE
from phi4local.doctor.result import OK, SKIPPED, WARNING, WRONG, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = (3, 11)
_OPTIONAL = {"numba": "quantizes six to ten times as fast", "matplotlib": "draws charts as files"}


def check() -> Iterator[Result]:
    """Yield what is to say about Python and its packages."""
    yield _check_python()
    yield from _check_packages()


def _check_python() -> Result:
    bits = 64 if sys.maxsize > 2**32 else 32
    venv = "virtual environment" if sys.prefix != sys.base_prefix else "no virtual environment"
    seen = f"{platform.python_version()}, {bits} bit, {venv}, {sys.executable}"
    if sys.version_info < OLDEST or bits == 32:
        advice = "phi4local needs a 64-bit Python 3.11 or newer: install one, and phi4local with it"
        return Result(name="python", state=WRONG, seen=seen, advice=advice)
    return Result(name="python", state=OK, seen=seen)


def _check_packages() -> Iterator[Result]:
    required = [name for name, optional in _requirements() if not optional and name != PACKAGE]
    missing = [name for name in required if _version(name) is None]
    if missing:
        seen = f"not installed: {', '.join(missing)}"
        yield Result(name="packages", state=WRONG, seen=seen, command=pip_install(missing))
    else:
        seen = (
            ", ".join(f"{name} {_version(name)}" for name in required) or "phi4local itself is not installed"
        )
        yield Result(name="packages", state=OK, seen=seen)
    have = [f"{name} {_version(name)}" for name in _OPTIONAL if _version(name)]
    lack = [name for name in _OPTIONAL if not _version(name)]
    seen = ", ".join((*have, *(f"{name} is not installed ({_OPTIONAL[name]})" for name in lack)))
    command = pip_install(lack) if lack else ""
    yield Result(name="optional parts", state=OK, seen=seen, command=command)


def _requirements() -> Iterator[tuple[str, bool]]:
    """Yield the packages that phi4local names, and whether only an extra wants them."""
    try:
        lines = importlib.metadata.requires("phi4local") or ()
    except importlib.metadata.PackageNotFoundError:  # run from a folder, without an installation
        return
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        if name:
            yield name[0], "extra ==" in line


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def pip_install(names: list[str]) -> str:
    """Return the command that installs packages for this Python. Example: `python -m pip install numba`."""
    return shlex.join([sys.executable, "-m", "pip", "install", *names])


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
