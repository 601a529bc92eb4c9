"""Draw a result of `benchmarks.kernels`: how many times as fast as ggml the kernels are.

    python -m benchmarks.kernels_chart benchmarks/results/kernels-x86_64.json

The chart is an SVG file beside the result, made of lines and words only, so that a diff of it can be read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

COLORS = {"this processor": "#1f77b4", "AVX2 forced": "#9ecae1"}
LEFT, WIDTH, BAR, GAP, TOP = 190, 480, 9, 8, 64


def ratios(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return bf16 to each type in one thread: {type: {code generation: ratio to ggml}}."""
    found: dict[str, dict[str, float]] = {}
    for generation in COLORS:
        for name, measured in result.get(generation, {}).items():
            if "ratio bf16 1" in measured:
                found.setdefault(name, {})[generation] = measured["ratio bf16 1"]
    return found


def chart(result: dict[str, Any]) -> str:
    """Return the SVG: a pair of bars for each type, the ratio written behind each."""
    rows = ratios(result)
    largest = max(value for row in rows.values() for value in row.values())
    step = 2 * BAR + GAP
    height = TOP + step * len(rows) + 20
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 60}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        '<text x="10" y="20" font-size="14">Speed of the kernels / of ggml, bf16 weights, one thread</text>',
        f'<text x="10" y="36" fill="#666">{result["machine"]["processor"]}, {_versions(result)}</text>',
    ]
    for number, (generation, color) in enumerate(COLORS.items()):
        x = LEFT + 150 * number
        lines.append(f'<rect x="{x}" y="44" width="10" height="10" fill="{color}"/>')
        lines.append(f'<text x="{x + 15}" y="54">{generation}</text>')
    for row, (name, values) in enumerate(rows.items()):
        y = TOP + row * step
        lines.append(f'<text x="{LEFT - 8}" y="{y + BAR + 4}" text-anchor="end">{name}</text>')
        for number, (generation, value) in enumerate(values.items()):
            top, width = y + number * BAR, value / largest * WIDTH
            color = COLORS[generation]
            lines.append(
                f'<rect x="{LEFT}" y="{top}" width="{width:.0f}" height="{BAR - 1}" fill="{color}"/>'
            )
            lines.append(f'<text x="{LEFT + width + 4:.0f}" y="{top + 8}" font-size="9">{value:.1f}</text>')
    one = LEFT + WIDTH / largest
    lines.append(f'<line x1="{one:.0f}" x2="{one:.0f}" y1="{TOP - 4}" y2="{height - 20}" stroke="#d62728"/>')
    lines.append(f'<text x="{one + 3:.0f}" y="{height - 6}" fill="#d62728">1 = ggml</text>')
    return "\n".join([*lines, "</svg>", ""])


def _versions(result: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in result["versions"].items())


def main() -> None:
    """Draw the result that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    path = parser.parse_args().result
    path.with_suffix(".svg").write_text(chart(json.loads(path.read_text())))


if __name__ == "__main__":
    main()
