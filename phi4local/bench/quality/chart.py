"""The chart of a quality measurement: size against KL divergence, or against perplexity without a base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.bench.plot import Axis, Chart, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.bench.quality.figures import Estimate
    from phi4local.bench.quality.report import QualityRow


def chart(rows: Sequence[QualityRow]) -> Chart:
    """Return a point for each model; the base is left out where others are compared with it.

    Example: a ladder of ten quantizations falls from the upper left (small, far from the base) to the lower
    right.
    """
    compared = [(row, row.divergence.kl) for row in rows if row.divergence is not None]
    points = compared or [(row, row.perplexity) for row in rows]
    y = Axis(title="KL divergence", unit="nats a token", log=True) if compared else Axis(title="Perplexity")
    last = rows[-1]
    read = f"{last.chunks:,} chunks of {last.context_tokens:,} tokens; bars: one standard error"
    return Chart(
        title="What quantizing costs" if compared else "Perplexity by size",
        x=_size_axis(rows),
        y=y,
        series=(_series(points, _unit(rows)[1]),),
        note=read,
    )


def _series(points: Sequence[tuple[QualityRow, Estimate]], unit_bytes: float) -> Series:
    return Series(
        label="models",
        x=tuple(row.size_bytes / unit_bytes for row, _ in points),
        y=tuple(estimate.value for _, estimate in points),
        low=tuple(max(0.0, estimate.value - estimate.error) for _, estimate in points),
        high=tuple(estimate.value + estimate.error for _, estimate in points),
        names=tuple(row.name for row, _ in points),
    )


def _size_axis(rows: Sequence[QualityRow]) -> Axis:
    return Axis(title="File", unit=_unit(rows)[0])


def _unit(rows: Sequence[QualityRow]) -> tuple[str, float]:
    """Return the unit of the largest file."""
    return ("GB", 1e9) if max(row.size_bytes for row in rows) >= 1e9 else ("MB", 1e6)
