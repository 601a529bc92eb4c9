"""A page of charts in one file: pictures, styles and tables inside, nothing asked from anywhere."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.bench.plot.chart import Chart

_HEAD = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }}
figure {{ margin: 0 0 3rem; }}
svg {{ width: 100%; height: auto; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; font-weight: 600; padding: .5rem 0; }}
th, td {{ padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #ddd; text-align: left; }}
td.number {{ text-align: right; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
"""
_NUMBER = re.compile(r"-?[\d,.]+(?:e[+-]?\d+)?")


def render(drawn: Sequence[tuple[Chart, str]]) -> str:
    """Return the page of charts and their pictures in SVG. Its policy lets a browser load nothing else."""
    title = drawn[0][0].title if len(drawn) == 1 else "Measurements with phi4local"
    figures = [_figure(chart, svg, f"chart{index}") for index, (chart, svg) in enumerate(drawn, start=1)]
    return _HEAD.format(title=escape(title)) + "".join(figures) + "</main>\n</body>\n</html>\n"


def _figure(chart: Chart, svg: str, name: str) -> str:
    picture = svg[svg.index("<svg") :]
    picture = re.sub(r"<metadata>.*?</metadata>", "", picture, flags=re.DOTALL)
    # Two pictures of one page must not share names of their parts.
    picture = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", picture)
    what = f"{chart.y.label} against {chart.x.label}; the table below holds the data"
    described = f'<svg role="img" aria-labelledby="{name}-title {name}-what" '
    picture = picture.replace("<svg ", described, 1)
    words = (
        f'<title id="{name}-title">{escape(chart.title)}</title><desc id="{name}-what">{escape(what)}</desc>'
    )
    end = picture.index(">") + 1
    return f"<figure>\n{picture[:end]}{words}{picture[end:]}\n{_table(chart)}</figure>\n"


def _table(chart: Chart) -> str:
    columns, rows = chart.table()
    caption = f"{chart.title}. {chart.note}" if chart.note else chart.title
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = "".join(f"<tr>{_cells(row)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table>\n<caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table></div>\n"
    )


def _cells(row: Sequence[str]) -> str:
    first = f'<th scope="row">{escape(row[0])}</th>'
    return first + "".join(f"<td{_class(cell)}>{escape(cell)}</td>" for cell in row[1:])


def _class(cell: str) -> str:
    return ' class="number"' if _NUMBER.fullmatch(cell) else ""
