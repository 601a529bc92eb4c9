"""Charts of measurements as files: plain data in, a PNG, an SVG or a self-contained page out."""

from phi4local.bench.plot.chart import Axis, Chart, Series
from phi4local.bench.plot.files import check_files, write

__all__ = ["Axis", "Chart", "Series", "check_files", "write"]
