"""Rows as text for programs: csv, json, jsonl, md and sql, as llama-bench writes them, then our columns.

Source: the printers in tools/llama-bench/llama-bench.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from phi4local.bench.row import COLUMNS, Row
from phi4local.bench.words import FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable

TABLE = "phi4local_bench"
"""Of the SQL: its own name, since llama-bench's table has no room for our columns."""
FLAT_COLUMNS = tuple(name for name in COLUMNS if not name.startswith("samples_"))
"""Columns of formats that have no lists."""
_SHOWN_IF_CHANGED = {
    "cpu_mask": "cpu_mask",
    "cpu_strict": "cpu_strict",
    "poll": "poll",
    "n_batch": "n_batch",
    "n_ubatch": "n_ubatch",
    "type_k": "type_k",
    "type_v": "type_v",
    "main_gpu": "main_gpu",
    "split_mode": "sm",
    "no_kv_offload": "nkvo",
    "flash_attn": "fa",
    "tensor_split": "ts",
    "tensor_buft_overrides": "ot",
    "load_mode": "lm",
    "embeddings": "embd",
    "no_op_offload": "nopo",
    "no_host": "noh",
    "repack": "rpk",
    "parallel": "parallel",
}
"""Columns of the Markdown table that appear when a row differs from the default, and their headings there."""


class Format(Protocol):
    """Turns rows into text, piece by piece."""

    def begin(self) -> str:
        """Return what stands before the first row."""

    def row(self, row: Row) -> str:
        """Return a row."""

    def end(self) -> str:
        """Return what stands behind the last row."""


@dataclass(slots=True)
class Json:
    """A list of objects."""

    _count: int = 0

    def begin(self) -> str:
        """See `Format.begin`."""
        return "[\n"

    def row(self, row: Row) -> str:
        """See `Format.row`."""
        fields = (f"    {json.dumps(name)}: {_json(value)}" for name, value in row.to_mapping().items())
        comma = ",\n" if self._count else ""
        self._count += 1
        return comma + "  {\n" + ",\n".join(fields) + "\n  }"

    def end(self) -> str:
        """See `Format.end`."""
        return "\n]\n" if self._count else "]\n"


class JsonLines:
    """An object on each line."""

    def begin(self) -> str:
        """See `Format.begin`."""
        return ""

    def row(self, row: Row) -> str:
        """See `Format.row`."""
        return _json(row.to_mapping()) + "\n"

    def end(self) -> str:
        """See `Format.end`."""
        return ""


class Csv:
    """A line of names, then a line for each row; everything quoted, lists left out."""

    def begin(self) -> str:
        """See `Format.begin`."""
        return ",".join(FLAT_COLUMNS) + "\n"

    def row(self, row: Row) -> str:
        """See `Format.row`."""
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow(_flat(row))
        return text.getvalue()

    def end(self) -> str:
        """See `Format.end`."""
        return ""


class Sql:
    """Statements that make a table and fill it."""

    def begin(self) -> str:
        """See `Format.begin`."""
        columns = ",\n".join(f"  {name} {_sql_type(name)}" for name in FLAT_COLUMNS)
        return f"CREATE TABLE IF NOT EXISTS {TABLE} (\n{columns}\n);\n\n"

    def row(self, row: Row) -> str:
        """See `Format.row`."""
        values = ", ".join("'" + value.replace("'", "''") + "'" for value in _flat(row))
        return f"INSERT INTO {TABLE} ({', '.join(FLAT_COLUMNS)}) VALUES ({values});\n"  # noqa: S608 - quoted

    def end(self) -> str:
        """See `Format.end`."""
        return ""


@dataclass(slots=True)
class Markdown:
    """A table of the columns that matter; widths and columns need all rows, so it comes at the end."""

    _rows: list[Row] = field(default_factory=list)

    def begin(self) -> str:
        """See `Format.begin`."""
        return ""

    def row(self, row: Row) -> str:
        """See `Format.row`."""
        self._rows.append(row)
        return ""

    def end(self) -> str:
        """See `Format.end`."""
        if not self._rows:
            return ""
        cells = [_markdown_cells(row, _columns(self._rows)) for row in self._rows]
        heads = list(cells[0])
        left = {"model", "backend", "path"}
        widths = {name: max(len(name), *(len(row[name]) for row in cells)) for name in heads}

        def line(row: dict[str, str]) -> str:
            return "| " + " | ".join(_aligned(row[n], widths[n], left=n in left) for n in heads) + " |\n"

        rules = {n: "-" * (widths[n] - 1) + ("-" if n in left else ":") for n in heads}
        whole = line({name: name for name in heads}) + line(rules) + "".join(map(line, cells))
        return f"{whole}\nbuild: {self._rows[0].build_commit} ({self._rows[0].build_number})\n"


def format_named(name: str) -> Format:
    """Return a format by its name, one of `FORMATS`."""
    makers: tuple[type[Format], ...] = (Markdown, Csv, Json, JsonLines, Sql)
    return makers[FORMATS.index(name)]()


def changed_columns(rows: Iterable[Row]) -> list[str]:
    """Return the settings in which some row differs from llama-bench's default."""
    usual, known = Row(), list(rows)
    return [n for n in _SHOWN_IF_CHANGED if any(getattr(row, n) != getattr(usual, n) for row in known)]


def _columns(rows: list[Row]) -> list[str]:
    on_gpu = any(row.backends != "CPU" for row in rows)
    return [*(["n_gpu_layers"] if on_gpu else []), "n_threads", *changed_columns(rows)]


def _markdown_cells(row: Row, columns: list[str]) -> dict[str, str]:
    heads = {"n_gpu_layers": "ngl", "n_threads": "threads", **_SHOWN_IF_CHANGED}
    gibibytes, billions = row.model_size / 2**30, row.model_n_params / 1e9
    return {
        "model": row.model_type,
        "size": f"{gibibytes:.2f} GiB" if gibibytes >= 1 else f"{row.model_size / 2**20:.2f} MiB",
        "params": f"{billions:.2f} B" if billions >= 1 else f"{row.model_n_params / 1e6:.2f} M",
        "backend": row.backends,
        **{heads[name]: _text(getattr(row, name)) for name in columns},
        "path": row.path,
        "test": row.test,
        "t/s": f"{row.avg_ts:.2f} ± {row.stddev_ts:.2f}",
    }


def _aligned(text: str, width: int, *, left: bool) -> str:
    return text.ljust(width) if left else text.rjust(width)


def _flat(row: Row) -> list[str]:
    values = row.to_mapping()
    return [_text(values[name]) for name in FLAT_COLUMNS]


def _text(value: Any) -> str:  # noqa: ANN401
    """Return a value as llama-bench writes it: 0 and 1 for truth, six digits behind the point."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.6f}"
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value)


def _json(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, ensure_ascii=False)


def _sql_type(name: str) -> str:
    value = getattr(Row(), name)
    if isinstance(value, bool | int) or name.endswith("_ns"):
        return "INTEGER"
    number = isinstance(value, float) or name.endswith(("_ts", "_fraction", "_joules"))
    return "REAL" if number else "TEXT"
