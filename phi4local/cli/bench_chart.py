"""Charts in the terminal: bars of block characters, or of `#` where a terminal has no others."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from phi4local.bench.plot.chart import number
from phi4local.cli.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.bench.plot import Chart
    from phi4local.bench.row import Row

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEAST_BAR = 10
_COLOURS = ("34", "33", "32", "35", "36", "31")
"""Of series, as SGR codes that every palette has."""


def show(rows: Sequence[Row]) -> None:
    """Draw the rows on stdout if a person looks at it and there is more than one point."""
    if len(rows) < 2 or not sys.stdout.isatty():
        return
    from phi4local.bench.charts import speed_charts

    width = min(shutil.get_terminal_size().columns, 100)
    dumb = os.environ.get("TERM") == "dumb"
    coloured = not dumb and not os.environ.get("NO_COLOR")
    for chart in speed_charts(rows):
        lines = draw(chart, width - 1, blocks=not dumb and _has_blocks(), coloured=coloured)
        sys.stdout.write("\n".join(lines) + "\n\n")


def draw(chart: Chart, width: int, *, blocks: bool = True, coloured: bool = False) -> list[str]:
    """Return the lines of a chart: a bar for each point, all from zero and on one scale.

    Args:
        chart: what to draw.
        width: most characters of a line.
        blocks: draw with block characters, an eighth of a character exactly, not with `#`.
        coloured: a colour for each series.

    Example: `Q4_K_M  4,096 ███████████▌ 7.4`.
    """
    points = [
        (index, series.label, chart.x.names[int(x)] if chart.x.names else number(x), y)
        for index, series in enumerate(chart.series)
        for x, y in zip(series.x, series.y, strict=True)
    ]
    several = len(chart.series) > 1
    labels = [visible(point[1]) if several else "" for point in points]
    places = [visible(point[2]) for point in points]
    values = [number(point[3]) for point in points]
    taken = max(map(len, places)) + max(map(len, values)) + 2 + several  # with the spaces between
    label_width = min(max(map(len, labels)), max(0, width - taken - _LEAST_BAR))
    bar_width = max(1, width - taken - label_width)
    highest = max((point[3] for point in points), default=0) or 1
    unit = visible(chart.y.unit or chart.y.title)
    lines = [_cut(f"{visible(chart.title)} ({unit}, by {visible(chart.x.title.lower())})", width)]
    for (index, _label, _place, y), label, place, value in zip(points, labels, places, values, strict=True):
        bar = _bar(y / highest, bar_width, blocks=blocks)
        if coloured:
            bar = f"\x1b[{_COLOURS[index % len(_COLOURS)]}m{bar}\x1b[0m"
        head = f"{_cut(label, label_width):<{label_width}} " if label_width else ""
        lines.append(f"{head}{place:>{max(map(len, places))}} {bar} {value}")
    return lines


def _bar(share: float, width: int, *, blocks: bool) -> str:
    """Return a bar of `share` of the width. Example: 0.5 of 5 characters → "██▌"."""
    if not blocks:
        return "#" * max(1, round(share * width))
    eighths = max(1, round(share * width * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."[:width]


def _has_blocks() -> bool:
    try:
        ("█" + _EIGHTHS).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
