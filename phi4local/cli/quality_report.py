"""What a person sees of a quality measurement: how far it is, the table, other layouts, the chart."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from phi4local.cli import render
from phi4local.cli.progress import LINE_SECONDS, duration
from phi4local.cli.text import json_visible, visible
from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from phi4local.bench.quality.figures import Estimate
    from phi4local.bench.quality.measure import Progress
    from phi4local.bench.quality.report import QualityRow

LAYOUTS = ("table", "md", "csv", "json", "jsonl")


def checked_layout(name: str) -> str:
    """Return the name of a layout.

    Raises:
        InvalidSettingError: there is no such layout.
    """
    if name not in LAYOUTS:
        raise InvalidSettingError("output", f"is {name!r}", hint=f"choose among {', '.join(LAYOUTS)}")
    return name


class Pace:
    """Says in a line how far a measurement is, and how long the rest takes at the pace of this model."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._model = 0
        self._started_seconds = 0.0
        self._first = 0

    def line(self, progress: Progress) -> str:
        """Return the line. Example: `Q4_K_M (2 of 11): chunk 34 of 99, perplexity 7.021, 6 min 2 s left`."""
        who = f"{progress.name} ({progress.number} of {progress.count})"
        if progress.stage != "reading":
            share = 100 * progress.done // progress.total if progress.total else 0
            return f"{who}: {progress.stage}, {share} %"
        text = f"{who}: chunk {progress.done} of {progress.total}, perplexity {progress.perplexity:.4g}"
        if self._model != progress.number:
            self._model, self._started_seconds, self._first = progress.number, self._clock(), progress.done
            return text
        seconds = (self._clock() - self._started_seconds) / (progress.done - self._first)
        chunks = progress.total - progress.done + (progress.count - progress.number) * progress.total
        return f"{text}, {duration(seconds * chunks)} left"


@contextlib.contextmanager
def shown() -> Iterator[Callable[[Progress], None]]:
    """Yield what is called with every report: a bar on a terminal, else a line every few seconds."""
    pace, said = Pace(), [time.monotonic()]
    if sys.stderr.isatty():
        with _bar() as show:
            yield lambda progress: show(pace.line(progress), progress)
        return

    def say(progress: Progress) -> None:
        line = pace.line(progress)
        if time.monotonic() - said[0] >= LINE_SECONDS:
            said[0] = time.monotonic()
            render.notice(line)

    yield say


@contextlib.contextmanager
def _bar() -> Iterator[Callable[[str, Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    columns = (
        BarColumn(bar_width=16),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)

        def show(line: str, progress: Progress) -> None:
            bars.update(task, description=visible(line), completed=progress.done, total=progress.total)

        yield show


def show(rows: Sequence[QualityRow], layout: str) -> None:
    """Print the rows, if there are any."""
    if not rows:
        return
    if layout == "table":
        _table(rows)
    elif layout == "json":
        render.print_json({**_facts(), "rows": [row.to_mapping() for row in rows]})
    elif layout == "jsonl":
        for row in rows:
            render.write(json_visible(json.dumps(row.to_mapping(), ensure_ascii=False)))
    else:
        cells = [_flat(row) for row in rows]
        render.write(_csv(cells) if layout == "csv" else _markdown(rows))


def check_plot(path: Path | None, *, overwrite: bool) -> None:
    """Find out before the measurement whether its chart can be drawn and written.

    Raises:
        InvalidSettingError, MissingExtraError, OutputExistsError: as `bench.plot.check_files`.
    """
    if path is not None:
        from phi4local.bench.plot import check_files

        check_files([path], overwrite=overwrite)


def draw(rows: Sequence[QualityRow], path: Path, *, overwrite: bool) -> None:
    """Draw the chart into a file."""
    from phi4local.bench.plot import write
    from phi4local.bench.quality.chart import chart

    write(path, [chart(rows)], overwrite=overwrite)
    render.notice(f"chart: {path}")


def _facts() -> dict[str, Any]:
    from phi4local import __version__, hardware

    return {"phi4local": __version__, "machine": hardware.describe()}


_FOUND = ("PERPLEXITY", "KL DIVERGENCE", "SAME TOP", "Δp RMS")
_COST = ("SIZE", "BITS", "READ tok/s", "WRITE tok/s", "MEMORY")
_WIDTH_WITHOUT_NAMES = 110


def _table(rows: Sequence[QualityRow]) -> None:
    """Print one table where it fits, two where the terminal is narrow."""
    first = rows[-1]
    chunks = f"{first.chunks} chunk" + ("" if first.chunks == 1 else "s")
    title = f"{chunks} of {first.context_tokens} tokens, {first.scored_tokens:,} scored"
    compared = [row for row in rows if row.divergence]
    found = _FOUND if compared else _FOUND[:1]
    names = [(row.name,) for row in rows]
    quality = [_quality_cells(row)[: len(found)] for row in rows]
    cost = [_cost_cells(row) for row in rows]
    needed = _WIDTH_WITHOUT_NAMES + max(len(row.name) for row in rows)
    tables = [(title, found + _COST, [a + b for a, b in zip(quality, cost, strict=True)])]
    if compared and sys.stdout.isatty() and shutil.get_terminal_size().columns < needed:
        tables = [(title, found, quality), ("", _COST, cost)]
    for heading, columns, cells in tables:
        named = [name + line for name, line in zip(names, cells, strict=True)]
        render.table(heading, ("MODEL", *columns), named, right=columns)
    if len(compared) == 1:
        _details(compared[0])


def _quality_cells(row: QualityRow) -> tuple[str, ...]:
    found = row.divergence
    compared = ("base", "", "") if row.is_base else ("", "", "")
    if found is not None:
        compared = (
            _estimate(found.kl, 3),
            f"{100 * found.same_top.value:.1f} %",
            f"{100 * found.rms_difference.value:.2f} %",
        )
    return (_estimate(row.perplexity, 4), *compared)


def _estimate(estimate: Estimate, digits: int) -> str:
    """Return a value with as many digits and an error with as many places. Example: 7.178 ± 0.200."""
    size = math.floor(math.log10(abs(estimate.value))) if estimate.value else 0
    places = max(0, digits - 1 - size)
    return f"{estimate.value:.{places}f} ± {estimate.error:.{places}f}"


def _cost_cells(row: QualityRow) -> tuple[str, ...]:
    return (
        render.size(row.size_bytes),
        f"{row.bits_per_weight:.2f}",
        f"{row.reading_rate:,.0f}",
        f"{row.writing_rate:,.1f}",
        render.size(row.peak_memory_bytes) if row.peak_memory_bytes else "-",
    )


def _details(row: QualityRow) -> None:
    """Print what llama-perplexity prints of one comparison."""
    found = row.divergence
    if found is None:
        return
    names = {"0.0": "minimum", "50.0": "median", "100.0": "maximum"}
    rows = [
        (
            names.get(place, f"{float(place):g} %"),
            f"{found.kl_percentiles[place]:.6f}",
            f"{100 * found.difference_percentiles[place]:.3f} %",
        )
        for place in found.kl_percentiles
    ]
    render.table("", ("OF THE TOKENS", "KL BELOW", "Δp BELOW"), rows, right=("KL BELOW", "Δp BELOW"))
    ratio, mean = found.log_ratio, found.mean_difference
    render.write(
        f"ln(perplexity / base's) {ratio.value:.5f} ± {ratio.error:.5f}\n"
        f"mean Δp {100 * mean.value:.3f} ± {100 * mean.error:.3f} %, "
        f"correlation of losses {100 * found.correlation:.2f} %"
    )


def _flat(row: QualityRow) -> dict[str, Any]:
    """Return a row without nested values, for tables that programs read."""
    found = row.divergence
    flat: dict[str, Any] = {
        "model": row.name,
        "quantization": row.quantization,
        "size_bytes": row.size_bytes,
        "bits_per_weight": row.bits_per_weight,
        "is_base": row.is_base,
        "perplexity": row.perplexity.value,
        "perplexity_error": row.perplexity.error,
        "kl": found.kl.value if found else None,
        "kl_error": found.kl.error if found else None,
        "kl_median": found.kl_percentiles["50.0"] if found else None,
        "kl_99": found.kl_percentiles["99.0"] if found else None,
        "kl_maximum": found.kl_percentiles["100.0"] if found else None,
        "same_top": found.same_top.value if found else None,
        "rms_difference": found.rms_difference.value if found else None,
        "log_ratio": found.log_ratio.value if found else None,
        "log_ratio_error": found.log_ratio.error if found else None,
        "reading_rate": row.reading_rate,
        "writing_rate": row.writing_rate,
        "peak_memory_bytes": row.peak_memory_bytes,
        "chunks": row.chunks,
        "context_tokens": row.context_tokens,
    }
    return flat


def _csv(cells: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(cells[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells)
    return text.getvalue().rstrip("\n")


def _markdown(rows: Sequence[QualityRow]) -> str:
    columns = ("MODEL", *_FOUND, *_COST)
    lines = [columns, ("---", *["--:"] * (len(columns) - 1))]
    lines += [(row.name, *_quality_cells(row), *_cost_cells(row)) for row in rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
