"""Forty bugs that somebody could make, each planted into a copy of the code: does a test notice?

    python -m tests.hostile.planted_bugs [--only NAME] [--output benchmarks/results/planted-bugs.json]

`planted_bugs.toml` says for each bug the file, the text that is there, the text that takes its place, and the
tests that have to fail then. The same tests have passed before without any bug, so that only the bug can be
the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
COPIED = ("phi4local", "tests", "benchmarks", "pyproject.toml", "README.md", "CHANGELOG.md")
LINKED = ("models", "convert", "docs")
SECONDS = 300


@dataclass(frozen=True, slots=True)
class Bug:
    """One change, and who has to notice it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def plant(self, root: Path) -> str:
        """Change the file below `root`; return what it held before."""
        path = root / self.file
        before = path.read_text(encoding="utf-8")
        path.write_text(before.replace(self.old, self.new, 1), encoding="utf-8")
        return before


def read_bugs() -> list[Bug]:
    """Return the bugs of the table; an unknown or missing field is an error."""
    table = tomllib.loads((HERE / "planted_bugs.toml").read_text(encoding="utf-8"))
    return [
        Bug(name, fields["file"], fields["old"], fields["new"], tuple(fields["tests"]))
        for name, fields in table.items()
    ]


def copy_tree(root: Path) -> None:
    """Copy what is changed and what imports it; link the rest."""
    leave = shutil.ignore_patterns("__pycache__", "results", "*.pyc")
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=leave)
        else:
            shutil.copy(source, root / name)
    for name in LINKED:
        (root / name).symlink_to(CHECKOUT / name, target_is_directory=True)


def tests_pass(root: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Run tests in the copy; return whether they passed, and the last line of what pytest said."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False, f"did not end within {SECONDS} s"
    lines = done.stdout.decode(errors="replace").strip().splitlines() or [""]
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {lines[-1]}")
    return done.returncode == 0, lines[-1]


def try_bugs(bugs: list[Bug]) -> list[dict[str, Any]]:
    """Plant the bugs one after the other; return for each whether it was noticed."""
    found = []
    with tempfile.TemporaryDirectory(prefix="phi4local-planted-") as folder:
        root = Path(folder)
        copy_tree(root)
        for tests in dict.fromkeys(bug.tests for bug in bugs):
            passed, said = tests_pass(root, tests)
            if not passed:
                raise RuntimeError(f"{' '.join(tests)} fails without a bug: {said}")
        for bug in bugs:
            started = time.monotonic()
            before = bug.plant(root)
            passed, said = tests_pass(root, bug.tests)
            (root / bug.file).write_text(before, encoding="utf-8")
            row = {"name": bug.name, "noticed": not passed, "seconds": round(time.monotonic() - started, 1)}
            sys.stderr.write(f"{row} {said}\n")
            found.append(row)
    return found


def main() -> None:
    """Try all or some; exit with 1 when one was not noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", action="append")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    bugs = [bug for bug in read_bugs() if not options.only or bug.name in options.only]
    rows = try_bugs(bugs)
    noticed = sum(row["noticed"] for row in rows)
    result = {
        "command": "python -m tests.hostile.planted_bugs",
        "planted": len(rows),
        "noticed": noticed,
        "bugs": rows,
    }
    text = json.dumps(result, indent=1) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    sys.exit(noticed != len(rows))


if __name__ == "__main__":
    main()
