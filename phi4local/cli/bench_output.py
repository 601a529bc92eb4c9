"""What `bench` prints: a table for people, or a format for programs, and on stderr what is being measured."""

from __future__ import annotations

import itertools
import shutil
import sys
from typing import TYPE_CHECKING, Any, Self

from phi4local.bench.formats import changed_columns, format_named
from phi4local.bench.words import FORMATS
from phi4local.cli import render
from phi4local.cli.text import visible
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import TextIO

    from phi4local.bench.formats import Format
    from phi4local.bench.row import Row
    from phi4local.bench.run import Step

_HEADINGS = {
    "type_k": "KEYS",
    "type_v": "VALUES",
    "parallel": "STREAMS",
    "tensor_buft_overrides": "OVERRIDES",
}


class Printer:
    """Takes rows as they are measured; what was measured is printed whatever happens afterwards.

    Args:
        formats: where to write, and how; none prints a table at the end.
    """

    def __init__(self, formats: Sequence[tuple[TextIO, Format]]) -> None:
        self._formats = formats
        self._table = not any(stream is sys.stdout for stream, _ in formats)
        self._status = Status()
        self.rows: list[Row] = []

    @classmethod
    def of(cls, output: str | None, on_stderr: str | None) -> Self:
        """Return a printer for the words behind `-o` and `-oe`.

        Raises:
            InvalidSettingError: no such format.
        """
        formats: list[tuple[TextIO, Format]] = []
        for stream, name in ((sys.stdout, output), (sys.stderr, on_stderr)):
            if name is not None and name not in FORMATS:
                raise InvalidSettingError("output", f"is {name!r}", hint=f"known: {', '.join(FORMATS)}")
            if name is not None:
                formats.append((stream, format_named(name)))
        return cls(formats)

    @property
    def writes_data(self) -> bool:
        """Whether stdout is for a program, so that nothing else may be written there."""
        return not self._table

    def row(self, row: Row) -> None:
        """Take a row."""
        self._status.clear()
        if not self.rows:
            self._begin()
        self.rows.append(row)
        for stream, form in self._formats:
            _write(stream, form.row(row))
            stream.flush()

    def step(self, step: Step) -> None:
        """Show what is being measured."""
        self._status.show(step)

    def note(self, line: str) -> None:
        """Say a line on stderr."""
        self._status.clear()
        render.notice(f"note: {line}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.clear()
        if self.rows:
            for stream, form in self._formats:
                _write(stream, form.end())
            if self._table:
                print_tables(self.rows)
        if kind is KeyboardInterrupt:
            render.notice(f"stopped; {len(self.rows)} rows were measured")

    def _begin(self) -> None:
        for stream, form in self._formats:
            _write(stream, form.begin())


def _write(stream: TextIO, text: str) -> None:
    stream.write(visible(text, keep_lines=True) if stream.isatty() else text)


class Status:
    """One line on a terminal's stderr, written again and again; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = ""

    def show(self, step: Step) -> None:
        """Replace the line."""
        repeat = f"repeat {step.repeat} of {step.repeats}" if step.repeat else "warming up"
        streams = f", {step.row.parallel} streams" if step.row.parallel > 1 else ""
        name = f"{step.row.model}: " if step.row.model else ""
        self._write(f"{name}{step.row.test}{streams}, {repeat} (test {step.number} of {step.tests})")

    def clear(self) -> None:
        """Take the line away."""
        self._write("")

    def _write(self, text: str) -> None:
        if self._terminal and text != self._shown:
            sys.stderr.write("\r\x1b[K" + visible(text)[:100])
            sys.stderr.flush()
            self._shown = text


def print_tables(rows: Sequence[Row]) -> None:
    """Print a table for each model, with the columns that tell something."""
    for file in dict.fromkeys((row.model, row.model_filename) for row in rows):
        _print_table([row for row in rows if (row.model, row.model_filename) == file])


def _print_table(rows: Sequence[Row]) -> None:
    columns = fitting({**_columns(rows), **_measures(rows)}, shutil.get_terminal_size().columns)
    render.table(
        _title(rows[0]),
        tuple(columns),
        [tuple(cells) for cells in zip(*columns.values(), strict=True)],
        right=[name for name in columns if name not in ("TEST", "PATH")],
    )
    for line in _footnotes(rows):
        render.notice(line)


def fitting(columns: dict[str, list[str]], width: int) -> dict[str, list[str]]:
    """Return the columns without the least important ones, so that no cell is broken; a pipe gets all.

    Example: 80 columns have no room for median, memory and roofline of several streams.
    """
    kept = dict(columns)
    for name in ("MEDIAN", "MEMORY", "ROOFLINE", "VRAM", "SLOWEST"):
        taken = sum(max(len(heading), *map(len, cells)) + 3 for heading, cells in kept.items())
        if taken > width and sys.stdout.isatty():
            kept.pop(name, None)
    return kept


def _title(row: Row) -> str:
    where = f"{row.n_gpu_layers} layers on {row.gpu_info}" if row.gpu_info and row.n_gpu_layers else "CPU"
    where = where.replace("-1 layers", "all layers")
    threads = f"{row.n_threads} thread{'s' * (row.n_threads > 1)}"
    kind = f" ({row.quantization})" if row.quantization and row.quantization not in row.model else ""
    if not row.model_size:
        return row.model
    return f"{row.model}{kind}, {render.size(row.model_size)}, {threads}, {where}"


def _columns(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what tells the tests apart: the name, and settings that are not the same everywhere."""
    cells = {"TEST": [row.test for row in rows]}
    if len({row.path for row in rows}) > 1:
        cells["PATH"] = [row.path for row in rows]
    on_gpu = ["n_gpu_layers"] if rows[0].gpu_info else []
    for name in ("n_threads", *on_gpu, *changed_columns(rows)):
        values = [getattr(row, name) for row in rows]
        if any(getattr(a, name) != getattr(b, name) for a, b in itertools.pairwise(rows) if a.path == b.path):
            heading = _HEADINGS.get(name, name.removeprefix("n_").replace("_", " ").upper())
            cells[heading] = [_word(value) for value in values]
    return cells


def _measures(rows: Sequence[Row]) -> dict[str, list[str]]:
    """Return what was measured, without columns that are empty everywhere."""
    cells = {
        "tok/s": [f"{_number(row.avg_ts)} ± {_number(row.stddev_ts)}" for row in rows],
        "MEDIAN": [_number(row.median_ts) for row in rows],
        "SLOWEST": [_number(row.slowest_ts) if row.slowest_ts else "" for row in rows],
        "FIRST TOKEN": [_milliseconds(row.first_token_ns) for row in rows],
        "ROOFLINE": [f"{row.roofline_fraction:.0%}" if row.roofline_fraction else "" for row in rows],
        "MEMORY": [render.size(row.peak_memory_bytes) if row.peak_memory_bytes else "" for row in rows],
        "VRAM": [render.size(row.peak_vram_bytes) if row.peak_vram_bytes else "" for row in rows],
        "J/TOKEN": [f"{row.joules_per_token:.3g}" if row.joules_per_token else "" for row in rows],
    }
    return {name: values for name, values in cells.items() if any(values)}


def _footnotes(rows: Sequence[Row]) -> list[str]:
    first = rows[0]
    lines = [f"mean ± standard deviation of {len(first.samples_ns)} repeats"]
    notes = [f"loaded in {first.load_seconds:.2f} s"] if first.load_seconds else []
    sampling = [row.sampling_ns for row in rows if row.sampling_ns and row.n_gen]
    if sampling:
        notes.append(f"choosing a token takes {min(sampling) / 1000:.0f} µs")
    if notes:
        lines.append("; ".join(notes))
    if any((row.roofline_fraction or 0) > 1 for row in rows):
        lines.append("above 100 % of the memory's bandwidth: the weights fit into the processor's cache")
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _milliseconds(nanoseconds: int | None) -> str:
    return "" if not nanoseconds else f"{_number(nanoseconds / 1e6)} ms"


def _word(value: Any) -> str:  # noqa: ANN401
    return "yes" if value is True else "no" if value is False else str(value)
