"""Rows as charts: speed against context, length of the prompt, streams, and model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.bench.plot.chart import Axis, Chart, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phi4local.bench.row import Row

SPEED = Axis(title="Speed", unit="tokens per second")
_WORDS = {
    "model": "",
    "quantization": "",
    "test": "",
    "path": "",
    "n_threads": "threads",
    "parallel": "streams",
    "type_k": "keys",
    "type_v": "values",
    "n_gpu_layers": "GPU layers",
    "flash_attn": "flash attention",
    "n_batch": "batch",
    "n_ubatch": "micro-batch",
}
"""What tells series apart, and the word before its value."""


def speed_charts(rows: Sequence[Row]) -> list[Chart]:
    """Return the charts that rows have points for: at least one if there is a row.

    Points are means, error bars one standard deviation. Tokens written are drawn against the tokens that
    were in the context before, tokens read against the prompt's length too; models stand side by side.

    Example: 128 tokens written at depths 0, 1,024 and 4,096 → one chart with one line.
    """
    writing = [row for row in rows if row.n_gen and not row.n_prompt]
    reading = [row for row in rows if row.n_prompt and not row.n_gen]
    before = Axis(title="Context before", unit="tokens", log=True)
    wanted: tuple[tuple[str, Axis, str, list[Row]], ...] = (
        ("n_depth", before, "Writing, as the context fills", writing),
        ("n_depth", before, "Reading, as the context fills", reading),
        ("n_prompt", Axis(title="Prompt", unit="tokens", log=True), "Reading prompts of any length", reading),
        ("parallel", Axis(title="Streams at the same time", log=True), "All streams together", list(rows)),
    )
    charts = [
        _lines(column, axis, title, chosen)
        for column, axis, title, chosen in wanted
        if len({getattr(row, column) for row in chosen}) > 1
    ]
    if rows and (len(_names(rows, "model")) > 1 or not charts):
        charts.append(_bars(rows))
    return charts


def _lines(column: str, axis: Axis, title: str, rows: Sequence[Row]) -> Chart:
    series = []
    for label, members in _groups(rows, leave_out=(column,)):
        ordered = sorted(members, key=lambda row: float(getattr(row, column)))
        if len({getattr(row, column) for row in ordered}) > 1:
            series.append(_series(label, [float(getattr(row, column)) for row in ordered], ordered))
    if not series:  # every point differs in something else too
        series = [_series("", [float(getattr(row, column)) for row in rows], rows)]
    return Chart(title=title, x=axis, y=SPEED, series=tuple(series), note=_note(rows))


def _bars(rows: Sequence[Row]) -> Chart:
    by_model = len(_names(rows, "model")) > 1
    if by_model:  # the lines show the other depths and streams
        for name in ("n_depth", "parallel"):
            least = min(getattr(row, name) for row in rows)
            rows = [row for row in rows if getattr(row, name) == least]
    column, title = ("model", "Speed by model") if by_model else ("test", "Speed by test")
    names = _names(rows, column)
    series = [
        _series(label, [float(names.index(getattr(row, column))) for row in members], members)
        for label, members in _groups(rows, leave_out=(column,))
    ]
    return Chart(
        title=title,
        x=Axis(title=column.capitalize(), names=tuple(names)),
        y=SPEED,
        series=tuple(series),
        note=_note(rows),
    )


def _series(label: str, x: Sequence[float], rows: Sequence[Row]) -> Series:
    spread = any(row.stddev_ts for row in rows)
    return Series(
        label=label,
        x=tuple(x),
        y=tuple(row.avg_ts for row in rows),
        low=tuple(row.avg_ts - row.stddev_ts for row in rows) if spread else (),
        high=tuple(row.avg_ts + row.stddev_ts for row in rows) if spread else (),
    )


def _groups(rows: Sequence[Row], leave_out: tuple[str, ...]) -> Iterable[tuple[str, list[Row]]]:
    """Return the rows that differ in nothing but `leave_out`, with a label of what they share."""

    def fact(row: Row, name: str) -> object:
        return _test_without(row, leave_out) if name == "test" else getattr(row, name)

    alone = rows[0].test if "model" in leave_out else rows[0].model
    names = [name for name in _WORDS if name not in leave_out]
    telling = [name for name in names if len({fact(row, name) for row in rows}) > 1]
    found: dict[str, list[Row]] = {}
    for row in rows:
        words = [f"{_WORDS[name]} {fact(row, name)}".strip() for name in telling]
        found.setdefault(", ".join(words) or alone, []).append(row)
    return found.items()


def _test_without(row: Row, leave_out: tuple[str, ...]) -> str:
    """Return the name of the test without what an axis shows. Example: depth → "tg128" of "tg128 @ d1024"."""
    name = row.test
    if "n_depth" in leave_out:
        return name.partition(" @ ")[0]
    return name.replace(f"pp{row.n_prompt}", "pp") if "n_prompt" in leave_out else name


def _names(rows: Sequence[Row], column: str) -> list[str]:
    return list(dict.fromkeys(str(getattr(row, column)) for row in rows))


def _note(rows: Sequence[Row]) -> str:
    first = rows[0]
    where = first.gpu_info if first.gpu_info and first.n_gpu_layers else first.cpu_info
    counts = {len(row.samples_ns) for row in rows}
    rounds = f"mean ± standard deviation of {max(counts)}" if counts != {1} else "one round each"
    return "; ".join(part for part in (where, rounds) if part)
