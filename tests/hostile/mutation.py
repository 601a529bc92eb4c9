"""How many small changes of the code do the tests notice? Mutation score and branch coverage of four rooms.

    python -m tests.hostile.mutation [--room validator] [--mutants 100] [--coverage]
        [--output benchmarks/results/mutation.json]

A mutant is a module with one change: a comparison or an operator turned into its neighbour, a number one
larger, a condition negated, a `raise` or an assignment that does nothing. Of all that are possible a seeded
sample is tried. A process that has the test libraries loaded forks itself for each, puts the changed module
in the place of the real one and runs the room's tests until the first failure. A survivor is a change that no
test noticed; some change nothing that could be noticed, and count as survivors all the same.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 120
SEED = 20260108


@dataclass(frozen=True, slots=True)
class Room:
    """Modules, and the tests that are about them."""

    files: tuple[str, ...]
    tests: tuple[str, ...]

    def modules(self) -> list[Path]:
        return sorted(path for pattern in self.files for path in CHECKOUT.glob(pattern))


ROOMS = {
    "validator": Room(
        ("phi4local/gguf/*.py",),
        (
            *("tests/hostile/test_gguf_files.py", "tests/unit/gguf", "tests/hostile/test_fuzz_corpus.py"),
            "tests/hostile/test_bad_adapters.py",
        ),
    ),
    "writer": Room(
        ("phi4local/files.py", "phi4local/convert/writer.py", "phi4local/convert/layout.py"),
        (
            *("tests/unit/test_files.py", "tests/unit/convert/test_publishing.py"),
            *("tests/unit/convert/test_conversion.py", "tests/unit/convert/test_layouts.py"),
            "tests/hostile/test_faults_of_many_files.py",
        ),
    ),
    "downloader": Room(
        ("phi4local/store/download/*.py", "phi4local/store/paths.py"),
        (
            *("tests/unit/store/test_names.py", "tests/unit/store/test_ranges.py"),
            *("tests/hostile/test_download_faults.py", "tests/hostile/test_download_kills.py"),
        ),
    ),
    "prompts": Room(
        ("phi4local/prompts/*.py",), ("tests/unit/prompts", "tests/hostile/test_published_templates.py")
    ),
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the `number`th that is possible in a module."""

    path: Path
    number: int
    line: int
    what: str


class Mutator(ast.NodeTransformer):
    """Count the changes that are possible, and make one of them."""

    def __init__(self, wanted: int = -1) -> None:
        self.wanted = wanted
        self.found: list[tuple[int, str]] = []

    def _chosen(self, node: ast.AST, what: str) -> bool:
        self.found.append((getattr(node, "lineno", 0), what))
        return len(self.found) - 1 == self.wanted

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Leave annotations and decorators alone: the former are never evaluated."""
        node.body = [self.visit(one) for one in node.body]
        node.args.defaults = [self.visit(one) for one in node.args.defaults]
        node.args.kw_defaults = [one and self.visit(one) for one in node.args.kw_defaults]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = [self.visit(one) for one in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.value = node.value and self.visit(node.value)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        for at, operator in enumerate(node.ops):
            other = COMPARISONS.get(type(operator))
            if other and self._chosen(node, f"{type(operator).__name__} to {other.__name__}"):
                node.ops[at] = other()
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        other = OPERATORS.get(type(node.op))
        if other and self._chosen(node, f"{type(node.op).__name__} to {other.__name__}"):
            node.op = other()
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        if self._chosen(node, "and, or exchanged"):
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) is int and self._chosen(node, f"{node.value} to {node.value + 1}"):
            return ast.copy_location(ast.Constant(node.value + 1), node)
        if type(node.value) is bool and self._chosen(node, f"{node.value} to {not node.value}"):
            return ast.copy_location(ast.Constant(not node.value), node)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node
        self.generic_visit(node)
        if self._chosen(node, "condition negated"):
            node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.Pass(), node) if self._chosen(node, "nothing raised") else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.Pass(), node) if self._chosen(node, "nothing added") else node


def possible(path: Path) -> Iterator[Mutant]:
    """Yield every change of a module."""
    mutator = Mutator()
    mutator.visit(ast.parse(path.read_text(encoding="utf-8")))
    for number, (line, what) in enumerate(mutator.found):
        yield Mutant(path, number, line, what)


class Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Give the changed module to whoever imports it."""

    def __init__(self, mutant: Mutant) -> None:
        parts = mutant.path.relative_to(CHECKOUT).with_suffix("").parts
        self._package = parts[-1] == "__init__"
        self._name = ".".join(parts[:-1] if self._package else parts)
        self._path, self._number = mutant.path, mutant.number

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> Any:
        del path, target
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def get_filename(self, fullname: str) -> str:
        del fullname
        return str(self._path)

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def get_code(self, fullname: str) -> Any:
        del fullname
        tree = Mutator(self._number).visit(ast.parse(self._path.read_text(encoding="utf-8")))
        return compile(ast.fix_missing_locations(tree), str(self._path), "exec")


def preload() -> None:
    """Load what tests need and what is not changed, before the first fork."""
    for name in ("pytest", "numpy", "jinja2", "httpx", "gguf", "tokenizers", "modelvet"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def notice(mutant: Mutant | None, tests: tuple[str, ...]) -> bool:
    """Run tests in a fork, with a change; return whether they failed, or did not end."""
    child = os.fork()
    if child == 0:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        code = 1
        try:
            import pytest

            if mutant is not None:
                sys.meta_path.insert(0, Changed(mutant))
            code = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])
        finally:
            os._exit(int(code))
    deadline = time.monotonic() + 2 * SECONDS
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.02)


def score(name: str, count: int) -> dict[str, Any]:
    """Try a sample of a room's mutants; return how many were noticed, and the survivors."""
    room = ROOMS[name]
    everything = [mutant for path in room.modules() for mutant in possible(path)]
    sample = random.Random(SEED).sample(everything, min(count, len(everything)))
    if notice(None, room.tests):
        raise RuntimeError(f"the tests of `{name}` fail without a change")
    survivors = []
    for tried, mutant in enumerate(sample, 1):
        where = f"{mutant.path.relative_to(CHECKOUT)}:{mutant.line}: {mutant.what}"
        if not notice(mutant, room.tests):
            survivors.append(where)
        sys.stderr.write(f"{name} {tried}/{len(sample)}, {len(survivors)} survive; {where}\n")
    noticed = len(sample) - len(survivors)
    return {
        "possible": len(everything),
        "tried": len(sample),
        "noticed": noticed,
        "score": round(noticed / len(sample), 3),
        "survivors": sorted(survivors),
    }


def branch_coverage(name: str) -> dict[str, Any]:
    """Run the room's tests below coverage; return the share of lines and branches that they reach."""
    room = ROOMS[name]
    modules = [str(path.relative_to(CHECKOUT)) for path in room.modules()]
    with tempfile.TemporaryDirectory() as folder:
        data, report = f"--data-file={folder}/data", Path(folder) / "report.json"
        prefix = [sys.executable, "-m", "coverage"]
        run = [
            "run",
            "--branch",
            data,
            f"--include={','.join(modules)}",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
        ]
        subprocess.run([*prefix, *run, *room.tests], cwd=CHECKOUT, stdout=subprocess.DEVNULL, check=True)
        subprocess.run(
            [*prefix, "json", data, "-o", str(report)], cwd=CHECKOUT, stdout=subprocess.DEVNULL, check=True
        )
        found = json.loads(report.read_text(encoding="utf-8"))
    total = copy.copy(found["totals"])
    reached = total["covered_branches"] / max(1, total["num_branches"])
    lines = {
        file: {"lines": entry["missing_lines"], "branches": entry["missing_branches"]}
        for file, entry in found["files"].items()
        if entry["missing_lines"] or entry["missing_branches"]
    }
    return {
        "branches": total["num_branches"],
        "branch_coverage": round(reached, 3),
        "line_coverage": round(total["covered_lines"] / max(1, total["num_statements"]), 3),
        "missing": lines,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--room", action="append", choices=ROOMS)
    parser.add_argument("--mutants", type=int, default=100, help="of each room; 0 for none")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    preload()
    os.chdir(CHECKOUT)
    result: dict[str, Any] = {
        "command": "python -m tests.hostile.mutation --coverage",
        "seed": SEED,
        "rooms": {},
    }
    if options.output and options.output.exists():
        result["rooms"] = json.loads(options.output.read_text(encoding="utf-8"))["rooms"]
    for name in options.room or ROOMS:
        row = dict(result["rooms"].get(name, {}))
        if options.mutants:
            row["mutation"] = score(name, options.mutants)
        if options.coverage:
            row["coverage"] = branch_coverage(name)
        result["rooms"][name] = row
        text = json.dumps(result, indent=1) + "\n"
        if options.output:
            options.output.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
