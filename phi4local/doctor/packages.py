"""The packages that phi4local uses: installed, and really importable, which is tried in another process."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import shlex
import sys
from typing import TYPE_CHECKING

from phi4local.doctor import programs
from phi4local.doctor.library import PACKAGE
from phi4local.doctor.result import OK, WARNING, WRONG, Result
from phi4local.engine.worker.process import child_command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OPTIONAL = {"numba": "quantizes six to ten times as fast", "matplotlib": "draws charts as files"}


def main() -> None:
    """Run in the child: say each name, then import it; what fails ends the process."""
    for name in sys.argv[3:]:
        sys.stderr.write(f"{name}\n")
        sys.stderr.flush()
        importlib.import_module(name.replace("-", "_"))


def check(seconds: float) -> Iterator[Result]:
    """Yield what is to say about needed packages and about optional ones.

    Args:
        seconds: how long importing them may take.
    """
    required = _requirements()
    missing = [name for name in required if _version(name) is None]
    broken = dict(_broken([name for name in (*required, *OPTIONAL) if _version(name)], seconds))
    faults = [f"{name} is not installed" for name in missing]
    faults += [f"{name} {broken[name]}" for name in required if name in broken]
    if faults:
        again = [required[name] for name in required if name in missing or name in broken]
        command = _pip_install(again, force=len(again) > len(missing))
        yield Result(name="packages", state=WRONG, seen="; ".join(faults), command=command)
    elif required:
        seen = ", ".join(f"{name} {_version(name)}" for name in required)
        yield Result(name="packages", state=OK, seen=seen)
    else:
        seen = "phi4local runs from a folder and is not installed, so nothing says what it needs"
        yield Result(name="packages", state=WARNING, seen=seen)
    yield _optional(broken)


def _optional(broken: dict[str, str]) -> Result:
    lacking = [name for name in OPTIONAL if not _version(name)]
    parts = [f"{name} {broken.get(name) or _version(name)}" for name in OPTIONAL if name not in lacking]
    parts += [f"{name} is not installed ({OPTIONAL[name]})" for name in lacking]
    again = [name for name in OPTIONAL if name in broken]
    command = _pip_install([*lacking, *again], force=bool(again)) if lacking or again else ""
    return Result(
        name="optional parts", state=WARNING if again else OK, seen=", ".join(parts), command=command
    )


def _broken(names: list[str], seconds: float) -> Iterator[tuple[str, str]]:
    """Yield the packages that cannot be imported, and how that ends."""
    left = list(names)
    while left:
        ran = programs.run([*child_command("phi4local.doctor.packages"), *left], seconds)
        if ran.code == 0:
            return
        lines = ran.stderr.splitlines()
        name = max((name for name in left if name in lines), key=left.index, default=left[0])
        reason = programs.last_line(ran.stderr) if ran.code == 1 else ran.ending()
        yield name, f"cannot be imported: {reason}"
        if ran.code is None:
            return  # the time is over for the others, too
        left = left[left.index(name) + 1 :]


def _requirements() -> dict[str, str]:
    """Return what phi4local needs beside llama.cpp: name → requirement, such as `gguf<0.20,>=0.19`."""
    try:
        lines = importlib.metadata.requires("phi4local") or ()
    except importlib.metadata.PackageNotFoundError:
        return {}
    needed = [line.partition(";")[0].strip() for line in lines if "extra ==" not in line]
    names = {re.split(r"[^\w.-]", requirement)[0]: requirement for requirement in needed}
    return {name: requirement for name, requirement in names.items() if name != PACKAGE}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _pip_install(requirements: Iterable[str], *, force: bool) -> str:
    words = [sys.executable, "-m", "pip", "install", *(["--force-reinstall"] if force else []), *requirements]
    return shlex.join(words)
