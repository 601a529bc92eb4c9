"""Kept results of `bench`: a line for each run, in one file for each machine.

`PHI4LOCAL_HOME/results/MACHINE.jsonl`, only ever appended to. A line is an object:

    {"format": 1, "id": "20260131T120000-1f2e", "at": "2026-01-31T12:00:00Z",
     "machine": {"key": "…", "processor": "…", "cores": 8, …}, "rows": [{"key": "…", "test_time": "…", …}]}

Rows hold what `phi4local.bench.row.Row.to_mapping` gives, `model_digest`, and the `key` of their test: two
rows with one key measure the same model with the same settings on the same machine. This module knows only
plain JSON values and trusts none of them; `bench.sources` makes rows of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from phi4local import hardware
from phi4local.errors import UnknownResultError
from phi4local.files import write_error
from phi4local.store.home import home, make_models_folder
from phi4local.store.locks import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

FORMAT = 1
MOST_LINE_BYTES = 16 * 2**20
"""Of one run; a longer line is damaged."""
_LOCK = "results"
_SAMPLES, _SAMPLE_BYTES = 64, 2**16

CHANGES = frozenset(
    {
        *("build_commit", "build_number", "cpu_info", "gpu_info", "backends", "devices", "version"),
        *("model", "model_filename", "model_type", "quantization", "test", "context_tokens"),
        *("samples_ns", "samples_ts", "samples_first_token_ns", "samples_slowest_ts"),
        *("test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts", "median_ns", "median_ts"),
        *("first_token_ns", "slowest_ts", "roofline_fraction", "load_seconds", "peak_memory_bytes"),
        *("peak_vram_bytes", "sampling_ns", "roofline_ts", "energy_joules", "joules_per_token"),
        "conditions",
    }
)
"""Columns that may differ between two measurements of one test: what was measured, names and versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of `bench` as it was kept.

    Attributes:
        id: unique; begins with the time, so that ids sort by it.
        at: when it was kept, `2026-01-31T12:00:00Z`.
        machine: its description, with its `key`.
        rows: in the order in which they were measured; each has its `key`.
    """

    id: str
    at: str
    machine: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]


def results_folder() -> Path:
    """Return the folder of the kept results."""
    return home() / "results"


def keep(rows: Sequence[Mapping[str, Any]]) -> Run:
    """Append a run to this machine's file, and return it as `runs` will read it.

    It is on the disk when this returns. Processes that keep at the same time wait for each other.

    Args:
        rows: plain JSON values, as `Row.to_mapping` gives, each with `model_digest`.

    Raises:
        FileWriteError: the operating system refused.
    """
    machine = this_machine()
    keyed = tuple({**row, "key": key_of(row, machine["key"])} for row in rows)
    now = time.gmtime()
    run = Run(
        id=f"{time.strftime('%Y%m%dT%H%M%S', now)}-{secrets.token_hex(2)}",
        at=time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        machine=machine,
        rows=keyed,
    )
    values = {"format": FORMAT, "id": run.id, "at": run.at, "machine": machine}
    line = json.dumps({**values, "rows": keyed}, ensure_ascii=False, allow_nan=False).encode()
    make_models_folder()  # makes the home too, for its owner alone
    path = results_folder() / f"{machine['key']}.jsonl"
    try:
        path.parent.mkdir(exist_ok=True)
        with locked(_LOCK), path.open("ab") as file:
            _append(file, path, line)
    except OSError as error:
        raise write_error(path, error) from error
    return run


def _append(file: IO[bytes], path: Path, line: bytes) -> None:
    """Write a line in one go; a line that a killed process left without its end becomes one of its own."""
    begin = b""
    if file.tell():
        with path.open("rb") as before:
            before.seek(-1, os.SEEK_END)
            begin = b"" if before.read() == b"\n" else b"\n"
    file.write(begin + line + b"\n")
    file.flush()
    os.fsync(file.fileno())


def runs(report: Callable[[str], None] = lambda _line: None, *, everywhere: bool = False) -> tuple[Run, ...]:
    """Return the kept runs, oldest first.

    Args:
        report: told in a line what is damaged and was left out. Nothing that stands in the files is an error.
        everywhere: those of all machines that share this home, not of this one alone.

    Example: `[row["median_ts"] for run in runs() for row in run.rows if row["test"] == "tg128"]`.
    """
    mine = [results_folder() / f"{this_machine()['key']}.jsonl"]
    found = []
    for path in sorted(results_folder().glob("*.jsonl")) if everywhere else mine:
        try:
            with path.open("rb") as file:
                found += _read(file, path, report)
        except FileNotFoundError:
            continue
        except OSError as error:
            report(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}")
    return tuple(sorted(found, key=lambda run: run.at))


def _read(file: IO[bytes], path: Path, report: Callable[[str], None]) -> list[Run]:
    found, number = [], 0
    while line := file.readline(MOST_LINE_BYTES):
        number += 1
        run = _run(line)
        if run:
            found.append(run)
        elif line.strip():
            report(f"`{path}` line {number} is damaged, or of a newer phi4local, and was left out")
    return found


def _run(line: bytes) -> Run | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        return None
    kinds = {"id": str, "at": str, "machine": dict, "rows": list}
    if any(not isinstance(values.get(name), kind) for name, kind in kinds.items()):
        return None
    if not all(isinstance(row, dict) and isinstance(row.get("key"), str) for row in values["rows"]):
        return None
    return Run(**{name: values[name] for name in ("id", "at", "machine")}, rows=tuple(values["rows"]))


def find(kept: Sequence[Run], name: str) -> Run:
    """Return the run that `name` stands for: `last`, an id or the beginning of one.

    Raises:
        UnknownResultError: there is none, or several.
    """
    if not kept:
        raise UnknownResultError(name, "nothing was kept on this machine yet")
    if name == "last":
        return kept[-1]
    fitting = [run for run in kept if name and run.id.startswith(name)]
    if len(fitting) != 1:
        raise UnknownResultError(name, f"{len(fitting) or 'no'} kept runs begin so")
    return fitting[0]


def key_of(row: Mapping[str, Any], machine: str) -> str:
    """Return a name for model, test, settings and machine. Columns that a later version adds count too.

    A setting that is not there and one that is empty, 0 or off are the same, so that a new column does not
    part old results from new ones.
    """
    facts = {name: value for name, value in row.items() if name not in CHANGES and name != "key" and value}
    # A model on a server has only its name and the server's address.
    who = row.get("model_digest") or [row.get("model"), row.get("model_filename")]
    text = json.dumps([machine, who, facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def model_digest(path: Path) -> str:
    """Return a name for a file's content that a file of 9 GB has at once: of its size and of 64 pieces.

    Enough to tell a person's models apart; no proof against forgery, which SHA-256 of the whole would be.

    The pieces have 64 KiB and are spread evenly; a file of up to 4 MiB is read completely.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            digest.update(f"{size_bytes}".encode())
            for place in range(_SAMPLES):
                file.seek(max(0, size_bytes - _SAMPLE_BYTES) * place // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError:
        return ""
    return f"sampled-{digest.hexdigest()[:32]}"


def this_machine() -> dict[str, Any]:
    """Return the description of this machine, and a key that another processor or memory changes."""
    facts = hardware.describe()
    # Kernels keep some of the memory to themselves, each another part of it.
    what = [facts["processor"], facts["cores"], round(int(facts["memory_bytes"]) / 2**30), platform.node()]
    return {"key": hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12], **facts}
