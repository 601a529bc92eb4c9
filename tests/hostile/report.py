"""What the plan asks for, and what was run: a count for every area, as JSON.

    python -m tests.hostile.report [--fast] [--area G1 --area K] [--output benchmarks/results/hostile.json]

Runs the tests of `plan.toml`, area by area, with their full counts or with the fast ones, and writes how many
passed, failed and were skipped, how many cases that were, and how long it took. Areas of an earlier result
that are not run this time stay, so that a long run can be made in parts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
AREAS = {
    *("A1", "A2", "A3", "A4", "B1", "B2", "B3", "B4", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8"),
    *("D1", "D2", "D3", "D4", "D5", "D6", "E1", "E2", "E3", "E4", "E5", "F1", "F2", "F3", "F4", "F5", "F6"),
    *("G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9", "G10", "H", "I", "J", "K", "L", "M", "N"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One area of the plan; see the top of `plan.toml`."""

    area: str
    cases: int
    criterion: str
    tests: tuple[str, ...] = ()
    inside: tuple[int, int] | None = None
    open: str = ""
    recorded: str = ""
    program: str = ""


def read_plan() -> dict[str, Area]:
    """Return the areas by their names; an unknown field is a TypeError."""
    content = tomllib.loads((HERE / "plan.toml").read_text(encoding="utf-8"))
    return {
        name: Area(
            **fields
            | {"tests": tuple(fields["tests"])}
            | ({"inside": tuple(fields["inside"])} if "inside" in fields else {})
        )
        for name, fields in content.items()
    }


def run(area: Area, *, full: bool) -> dict[str, Any]:
    """Run the tests of an area in a process of its own; return what came of them."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
        started = time.monotonic()
        done = subprocess.run(
            [*command, *(["--full"] if full else []), *area.tests],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = round(time.monotonic() - started, 1)
        if not report.exists():
            return {"error": done.stdout.decode(errors="replace")[-2000:], "seconds": seconds}
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    inside = area.inside[full] if area.inside else 0
    return counts | {"cases": max(inside, counts["tests"] - counts["skipped"]), "seconds": seconds}


def rows(plan: dict[str, Area], chosen: list[str], before: dict[str, Any], *, full: bool) -> dict[str, Any]:
    """Return a row for each area: what was planned, and what was run now or before."""
    found = {}
    for name, area in plan.items():
        row: dict[str, Any] = {"area": area.area, "planned": area.cases, "criterion": area.criterion}
        row |= {key: value for key in ("open", "program", "recorded") if (value := getattr(area, key))}
        if area.tests and name in chosen:
            row["full" if full else "fast"] = run(area, full=full)
            sys.stderr.write(f"{name}: {row['full' if full else 'fast']}\n")
        for kind in ("full", "fast"):
            if kind not in row and kind in before.get(name, {}):
                row[kind] = before[name][kind]
        found[name] = row
    return found


def main() -> None:
    """Run, print, write; exit with 1 when something failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="the counts of `make test`")
    parser.add_argument(
        "--area", action="append", choices=sorted(AREAS), help="only this one; may be repeated"
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    before: dict[str, Any] = {}
    if options.output and options.output.exists():
        before = json.loads(options.output.read_text(encoding="utf-8"))["areas"]
    plan = read_plan()
    areas = rows(plan, options.area or list(plan), before, full=not options.fast)
    bad = [
        name
        for name, row in areas.items()
        for kind in ("full", "fast")
        if row.get(kind) and ("error" in row[kind] or row[kind]["failures"] or row[kind]["errors"])
    ]
    result = {
        "command": "python -m tests.hostile.report",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "python": platform.python_version(),
        "areas_planned": len(plan),
        "areas_open": sorted(name for name, area in plan.items() if area.open),
        "areas_that_failed": bad,
        "areas": areas,
    }
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
