"""What a chart shows. Plain data: nothing here knows a drawing library, so a web page can use it as well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points that belong together: a line, or a colour of bars.

    Attributes:
        label: name in the legend.
        x, y: coordinates, as many of one as of the other. On an axis of names, x is the name's number from 0.
        low, high: ends of each point's error bar; empty for none.
        names: what stands beside each point; empty for nothing.

    Example: `Series(label="Q4_K_M", x=(0, 4096), y=(9.1, 7.4), low=(9.0, 7.2), high=(9.2, 7.6))`.

    Raises:
        ValueError: sequences of different lengths.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.x), len(self.y)} | {len(v) for v in (self.low, self.high, self.names) if v}
        if len(lengths) != 1 or bool(self.low) != bool(self.high):
            raise ValueError(f"series `{self.label}` has sequences of different lengths")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What an axis counts.

    Attributes:
        title: what it is, such as "Speed".
        unit: in which unit, such as "tokens per second"; empty for a number without one.
        log: every step multiplies; zero stays possible.
        names: makes it an axis of names, in this order; only for x, which then gets bars.
    """

    title: str
    unit: str = ""
    log: bool = False
    names: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Title and unit. Example: "Speed (tokens per second)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart: a title, two axes, and what is drawn between them.

    Attributes:
        title: says what is shown, such as "Generation slows down as the context fills".
        x, y: the axes.
        series: at least one.
        note: a line beneath: machine, meaning of the error bars.
    """

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    note: str = ""

    def table(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Return the columns and the rows of the data, one row a point, for readers who see no picture."""
        names = any(series.names for series in self.series)
        ranges = any(series.low for series in self.series)
        columns = ("Series", *(("Point",) if names else ()), self.x.label, self.y.label)
        columns += ("From", "To") if ranges else ()
        rows = []
        for series in self.series:
            for index, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
                name = (series.names[index] if series.names else "",) if names else ()
                where = self.x.names[int(x)] if self.x.names else number(x)
                ends = (series.low[index], series.high[index]) if series.low else ()
                cells = tuple(number(end) for end in ends) or ("", "")
                rows.append((series.label, *name, where, number(y), *(cells if ranges else ())))
        return columns, tuple(rows)


def number(value: float, digits: int = 4) -> str:
    """Return a number with so many digits that count. Examples: 16384 → "16,384"; 9.1234 → "9.123"."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
