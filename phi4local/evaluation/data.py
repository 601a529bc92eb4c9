"""Read the files of benchmarks: CSV, JSON and JSON lines, plain or gzipped, and never trusted."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from typing import TYPE_CHECKING, Any

from phi4local.errors import EvaluationDataError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MOST_BYTES = 2**29
"""Of one file, unpacked; DROP's training questions, the largest, have 0.1 GB."""


def find(folder: Path, names: Iterable[str], hint: str) -> Path:
    """Return the first file of these names that is there.

    Raises:
        EvaluationDataError: none is.
    """
    wanted = tuple(names)
    for name in wanted:
        if (folder / name).is_file():
            return folder / name
    raise EvaluationDataError(folder, f"there is no {' or '.join(wanted)}", hint=hint)


def text_of(path: Path) -> str:
    """Return a file's text; one whose name ends with `.gz` is unpacked.

    Raises:
        EvaluationDataError: it cannot be read, is no UTF-8, or has over `MOST_BYTES`.
    """
    try:
        with path.open("rb") as raw:
            file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            found = file.read(MOST_BYTES + 1)
        if len(found) > MOST_BYTES:
            raise EvaluationDataError(path, f"is larger than {MOST_BYTES:,} bytes")
        return found.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise EvaluationDataError(path, f"cannot be read: {error}") from error


def csv_rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """Return a CSV file's rows, which have at least these columns.

    Raises:
        EvaluationDataError: a column is missing, or a row is shorter than the heading.
    """
    wanted = tuple(columns)
    reader = csv.DictReader(io.StringIO(text_of(path), newline=""))
    try:
        missing = [name for name in wanted if name not in (reader.fieldnames or ())]
        if missing:
            raise EvaluationDataError(path, f"has no column `{missing[0]}`")
        rows = []
        for row in reader:
            if any(not isinstance(row[name], str) for name in wanted):
                raise EvaluationDataError(
                    path, f"line {reader.line_num} has fewer columns than the first one"
                )
            rows.append({name: row[name] for name in wanted})
    except csv.Error as error:
        raise EvaluationDataError(path, f"line {reader.line_num}: {error}") from error
    return rows


def json_rows(path: Path, fields: Iterable[str]) -> list[dict[str, str]]:
    """Return the objects of a JSON list or of JSON lines, with these fields, which are texts.

    Raises:
        EvaluationDataError: something else stands there.
    """
    text = text_of(path)
    rows: list[Any] = []
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            # Not splitlines: U+2028 may stand inside a JSON text.
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except (ValueError, RecursionError) as error:
        raise EvaluationDataError(path, f"is no JSON: {error}") from error
    wanted = tuple(fields)
    for number, row in enumerate(rows, start=1):
        for name in wanted:
            if not isinstance(row, dict) or not isinstance(row.get(name), str):
                raise EvaluationDataError(path, f"row {number} has no text `{name}`")
    return [{name: row[name] for name in wanted} for row in rows]
