"""Rows that were measured before: of kept runs, and of files of llama-bench or `phi4local bench -o json`."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local.bench.row import Row
from phi4local.errors import FileFormatError
from phi4local.store import results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_FILE_BYTES = 64 * 2**20
_HINT = "give a file that `llama-bench -o json`, `-o jsonl` or `phi4local bench -o json` wrote"
_DEFAULTS = Row()
_KINDS: dict[str, type | tuple[type, ...]] = {
    field.name: type(getattr(_DEFAULTS, field.name)) for field in fields(Row)
} | dict.fromkeys(("sampling_ns", "roofline_ts", "energy_joules"), (int, float, type(None)))


def rows_of(
    name: str, kept: Sequence[results.Run], report: Callable[[str], None] = lambda _line: None
) -> tuple[Row, ...]:
    """Return the rows that `name` stands for: a file, `last`, or the beginning of a kept run's id.

    Raises:
        UnknownResultError: none of these.
        FileFormatError: a file of something else.
    """
    path = Path(name)
    if path.is_file():
        return read_file(path)
    return run_rows(results.find(kept, name), report)


def run_rows(run: results.Run, report: Callable[[str], None] = lambda _line: None) -> tuple[Row, ...]:
    """Return the rows of a kept run; those that are none are reported and left out."""
    found = []
    for number, values in enumerate(run.rows, start=1):
        try:
            found.append(to_row(values))
        except ValueError as error:
            report(f"row {number} of result `{run.id}` is damaged ({error}) and was left out")
    return tuple(found)


def read_file(path: Path) -> tuple[Row, ...]:
    """Return the rows of a file: a JSON list, an object with `rows`, or a JSON object in each line.

    Raises:
        FileFormatError: not such a file; the message says where.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise FileFormatError(path, (error.strerror or str(error)).lower(), hint=_HINT) from error
    if len(content) > MOST_FILE_BYTES:
        raise FileFormatError(path, f"has more than {MOST_FILE_BYTES:,} bytes", hint=_HINT)
    found = []
    for number, values in enumerate(_objects(path, content), start=1):
        try:
            # llama-bench has no such column: what it measures is the bare loop
            found.append(to_row({"path": "raw"} | values))
        except (ValueError, TypeError) as error:
            raise FileFormatError(path, f"row {number}: {error}", hint=_HINT) from error
    if not found:
        raise FileFormatError(path, "has no rows", hint=_HINT)
    return tuple(found)


def to_row(values: Mapping[str, Any]) -> Row:
    """Return the row of a mapping of unknown origin.

    Raises:
        ValueError: a column of another kind, or without samples.
    """
    for name, value in values.items():
        expected = _KINDS.get(name)
        if expected is None:
            continue
        if name.startswith("samples_"):
            _check_samples(name, value)
        elif not _fits(value, expected):
            raise ValueError(f"`{name}` is {_shown(value)}")
    if not values.get("samples_ns"):
        raise ValueError("it has no samples in `samples_ns`")
    return Row.from_mapping(values)


def _objects(path: Path, content: bytes) -> list[dict[str, Any]]:
    try:
        try:
            values = json.loads(content)
        except json.JSONDecodeError:
            values = [json.loads(line) for line in content.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise FileFormatError(path, "is no JSON", hint=_HINT) from error
    if isinstance(values, dict):
        values = values.get("rows", [values])
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise FileFormatError(path, "is no list of rows", hint=_HINT)
    return values


def _fits(value: object, expected: type | tuple[type, ...]) -> bool:
    if expected is float:
        return _is_number(value)
    if expected is int:
        return isinstance(value, int)  # llama-bench writes some switches as 0 and 1, some as true and false
    if expected is bool:
        return isinstance(value, bool | int)
    return isinstance(value, expected)


def _check_samples(name: str, value: object) -> None:
    if not isinstance(value, list | tuple) or not all(_is_number(entry) and entry > 0 for entry in value):
        raise ValueError(f"`{name}` is no list of numbers above zero")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
