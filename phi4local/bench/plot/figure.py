"""Draw charts with matplotlib, without its global state and without a screen."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

from phi4local.bench.plot.chart import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.bench.plot.chart import Chart

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
"""Okabe and Ito's, which colour-blind people tell apart; yellow is left out, it is too light on white."""
MARKERS = "osD^vPX"
PANEL_INCHES = (6.4, 4.4)
_MOST_TICKS = 9
_MOST_LABELLED_BARS = 12
_STYLE = {
    "font.size": 10,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "text.parse_math": False,  # a `$` in a file name is no formula
    "svg.fonttype": "none",  # text stays text: it can be read aloud, searched and copied
    "svg.hashsalt": "phi4local",  # the same chart gives the same bytes
}


def render(charts: Sequence[Chart], kind: str) -> bytes:
    """Return the charts side by side as a picture.

    Args:
        charts: at least one; two stand beside each other, more go on beneath.
        kind: `png` or `svg`.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    across = min(2, len(charts))
    down = -(-len(charts) // across)
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that the font does not have is drawn as boxes; the table has it right.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        size = (PANEL_INCHES[0] * across, PANEL_INCHES[1] * down)
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        spaces: Any = figure.get_layout_engine()
        spaces.set(w_pad=0.15, h_pad=0.12)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for panel, chart in zip(panels, charts, strict=False):
            _draw(panel, chart)
        for panel in panels[len(charts) :]:
            panel.axis("off")
        picture = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {}
        figure.savefig(picture, format=kind, dpi=150, metadata=metadata)
    return picture.getvalue()


def _draw(panel: Any, chart: Chart) -> None:  # noqa: ANN401 - matplotlib has no types
    panel.set_title(_clean(chart.title))
    panel.set_ylabel(_clean(chart.y.label))
    below = f"{chart.x.label}\n{chart.note}" if chart.note else chart.x.label
    panel.set_xlabel("\n".join(_clean(line) for line in below.split("\n")))
    (_bars if chart.x.names else _lines)(panel, chart)
    if len(chart.series) > 1 or (chart.series and not chart.x.names and not chart.series[0].names):
        if chart.x.names:  # room above the bars
            panel.set_ylim(top=panel.get_ylim()[1] * (1 + 0.09 * -(-len(chart.series) // 2)))
        panel.legend(frameon=False, fontsize=9, ncols=2 if chart.x.names else 1, loc=_legend_place(chart))


def _legend_place(chart: Chart) -> str:
    return "upper right" if chart.x.names else "best"


def _lines(panel: Any, chart: Chart) -> None:  # noqa: ANN401
    for index, series in enumerate(chart.series):
        panel.errorbar(
            series.x,
            series.y,
            yerr=_lengths(series.y, series.low, series.high),
            label=_clean(series.label),
            color=COLOURS[index % len(COLOURS)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=5,
            linewidth=1.6,
            capsize=3,
        )
        for name, x, y in zip(series.names, series.x, series.y, strict=False):
            panel.annotate(_clean(name), (x, y), xytext=(6, 5), textcoords="offset points", fontsize=8)
    _scale(panel, chart)
    panel.margins(x=0.09, y=0.12)
    if not chart.y.log and all(y >= 0 for series in chart.series for y in series.y):
        panel.set_ylim(bottom=0)  # half as high is half as fast


def _scale(panel: Any, chart: Chart) -> None:  # noqa: ANN401
    """Make axes logarithmic where that was asked for; with a zero, linear up to the smallest other value."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    for which, axis in (("x", chart.x), ("y", chart.y)):
        values = sorted({value for series in chart.series for value in getattr(series, which)})
        positive = [value for value in values if value > 0]
        if axis.log and positive:
            base = 2 if which == "x" else 10
            options = {"base": base} if positive == values else {"base": base, "linthresh": positive[0]}
            getattr(panel, f"set_{which}scale")("log" if positive == values else "symlog", **options)
        drawn = getattr(panel, f"{which}axis")
        if which == "x" and axis.log and len(values) <= _MOST_TICKS:
            drawn.set_ticks(values)
            drawn.set_minor_locator(NullLocator())
        drawn.set_major_formatter(FuncFormatter(lambda value, _place: number(value)))
        if which == "y":
            drawn.set_minor_formatter(NullFormatter())


def _bars(panel: Any, chart: Chart) -> None:  # noqa: ANN401
    width = 0.8 / len(chart.series)
    few = sum(len(series.x) for series in chart.series) <= _MOST_LABELLED_BARS
    for index, series in enumerate(chart.series):
        places = [x + width * (index - (len(chart.series) - 1) / 2) for x in series.x]
        drawn = panel.bar(
            places,
            series.y,
            width * 0.92,
            yerr=_lengths(series.y, series.low, series.high),
            label=_clean(series.label),
            color=COLOURS[index % len(COLOURS)],
            error_kw={"ecolor": "#333333", "capsize": 3, "elinewidth": 1.2},
        )
        if few:
            panel.bar_label(drawn, [number(y, digits=3) for y in series.y], padding=2, fontsize=8)
    longest = max(len(name) for name in chart.x.names)
    crowded = longest * len(chart.x.names) > 60
    panel.set_xticks(
        range(len(chart.x.names)),
        [_clean(name) for name in chart.x.names],
        rotation=35 if crowded else 0,
        ha="right" if crowded else "center",
        rotation_mode="anchor",
    )
    panel.grid(visible=False, axis="x")
    panel.margins(y=0.12)
    if chart.y.log:
        panel.set_yscale("log")


def _lengths(
    middle: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[list[float], list[float]] | None:
    """Return how far each error bar reaches down and up; matplotlib refuses less than nothing."""
    if not low:
        return None
    down = [max(0.0, y - end) for y, end in zip(middle, low, strict=True)]
    return down, [max(0.0, end - y) for y, end in zip(middle, high, strict=True)]


def _clean(text: str) -> str:
    """Return text that is one line and legal in XML; names of files may hold anything."""
    return "".join(character if character.isprintable() else "?" for character in text)
