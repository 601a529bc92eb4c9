"""Run commands with a fault in them, each in a process of its own, thousands in a minute.

A process that has phi4local's libraries loaded forks itself for every case, so a case costs what the command
does and not what starting Python does. Standard input takes one case a line, standard output gives one
answer a line, both as JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tests.hostile.faults import Fault, inject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOBODY = 65534
CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command left behind. `calls` is empty for a killed one."""

    returncode: int
    stdout: str
    stderr: str
    calls: dict[str, int] = field(default_factory=dict)


class FaultRunner:
    """The process that forks. Use it as a context manager.

    Example: `runner.run(["convert", checkpoint, "-o", output], watch=[folder], fault=fault).returncode`.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.fault_runner"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> FaultRunner:
        return self

    def __exit__(self, *_: object) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()

    def run(
        self,
        arguments: Sequence[object],
        *,
        watch: Iterable[Path] = (),
        fault: Fault | None = None,
        as_nobody: bool = False,
        home: Path | None = None,
    ) -> Outcome:
        """Run `phi4local ARGUMENTS…` in a new process, as nobody if asked for and if we are root.

        With `home`, phi4local keeps its files there.
        """
        case = {
            "arguments": [str(argument) for argument in arguments],
            "watch": [str(folder) for folder in watch],
            "fault": asdict(fault) if fault else None,
            "as_nobody": as_nobody,
            "home": str(home) if home else None,
            "scratch": str(self._scratch),
        }
        _pipe(self._process.stdin).write(json.dumps(case) + "\n")
        _pipe(self._process.stdin).flush()
        returncode = json.loads(_pipe(self._process.stdout).readline())
        written = {
            name: (self._scratch / name).read_text(encoding="utf-8") for name in ("stdout", "stderr", "calls")
        }
        return Outcome(returncode, written["stdout"], written["stderr"], json.loads(written["calls"] or "{}"))


def _pipe(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise RuntimeError("the process has no pipes")
    return stream


def _serve() -> None:
    _load_libraries()
    cases = os.fdopen(os.dup(0), encoding="utf-8")  # the command gets a stdin that nobody has read from
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in cases:
        case = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(case)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _load_libraries() -> None:
    """Convert something small, so that what is imported late is imported before the first fork."""
    import tempfile

    from phi4local.cli import main
    from tests.random_checkpoint import write_random_checkpoint

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        checkpoint = write_random_checkpoint(Path(folder) / "c")
        main(["convert", str(checkpoint), "-q", "Q8_0", "-o", f"{folder}/m.gguf"])


def _run(case: dict[str, Any]) -> None:
    """Run one case and end the process."""
    streams = {name: _truncated(Path(case["scratch"]) / name) for name in ("stdout", "stderr", "calls")}
    for name, number in (("stdout", 1), ("stderr", 2)):
        os.dup2(streams[name], number)
    if case["as_nobody"] and os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if case["home"]:
        os.environ["PHI4LOCAL_HOME"] = case["home"]
    from phi4local.cli import main

    code = 99
    try:
        with inject(map(Path, case["watch"]), Fault(**case["fault"]) if case["fault"] else None) as calls:
            code = main(case["arguments"])
        os.write(streams["calls"], json.dumps(calls).encode())
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _truncated(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)


if __name__ == "__main__":
    _serve()
