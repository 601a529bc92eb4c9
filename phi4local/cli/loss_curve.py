"""How the loss went, drawn with characters: a column for some steps, their mean as its height."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"


def draw(losses: Sequence[float], width: int, height: int = 6, *, blocks: bool = True) -> list[str]:
    """Return the lines of a curve from the first step to the last, with its highest and lowest value.

    Args:
        losses: one for each step.
        width: most characters of a line.
        height: lines.
        blocks: draw with eighths of a block, else with `#`.

    Example: ten losses from 4 to 1 → six lines that fall to the right, with 4.000 and 1.000 at the left.
    """
    room = max(1, width - 8)
    columns = min(room, len(losses))
    edges = [round(place * len(losses) / columns) for place in range(columns + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    # The lowest column has one eighth, so that it can be seen.
    heights = [1 + round((mean - low) / span * (8 * height - 1)) for mean in means]
    lines = []
    for row in range(height - 1, -1, -1):
        filled = [min(8, max(0, value - 8 * row)) for value in heights]
        bars = "".join(
            _EIGHTHS[eighths] if blocks else "#" if eighths >= 4 or row == 0 else " " for eighths in filled
        )
        label = f"{high:6.3f}" if row == height - 1 else f"{low:6.3f}" if row == 0 else ""
        lines.append(f"{label:>6} {bars}".rstrip())
    return lines
