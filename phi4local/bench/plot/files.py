"""Write charts to a file, in the format that its name ends with."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.errors import InvalidSettingError, MissingExtraError
from phi4local.files import new_file, refuse_existing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phi4local.bench.plot.chart import Chart

FORMATS = ("png", "svg", "html")


def check_files(paths: Iterable[str | Path], *, overwrite: bool = False) -> tuple[Path, ...]:
    """Return the paths if `write` will be able to write there: asked before anything is measured.

    Raises:
        InvalidSettingError: a name that ends with no known format, or a folder that is not there.
        MissingExtraError: the drawing library is not installed.
        OutputExistsError: a file is there and `overwrite` is off.
    """
    found = tuple(Path(path) for path in paths)
    for path in found:
        _format(path)
        if not path.absolute().parent.is_dir():
            problem = f"names `{path}`, and `{path.parent}` is no folder"
            raise InvalidSettingError("plot", problem, hint="make the folder first")
        refuse_existing(path, overwrite=overwrite)
    if found and importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("plot", "matplotlib", "draws charts")
    return found


def write(path: Path, charts: Sequence[Chart], *, overwrite: bool = False) -> None:
    """Draw the charts into one file: side by side in a picture, one beneath the other on a page.

    A page holds its pictures, styles and data tables itself, so that it can be sent as it is.

    Example: `write(Path("speed.html"), [chart])`.

    Raises:
        As `check_files`, and:
        FileWriteError: the operating system refused.
    """
    check_files([path], overwrite=overwrite)
    from phi4local.bench.plot import figure, page

    kind = _format(path)
    if kind == "html":
        content = page.render([(chart, figure.render([chart], "svg").decode()) for chart in charts]).encode()
    else:
        content = figure.render(charts, kind)
    with new_file(path, overwrite=overwrite) as file:
        file.write(content)


def _format(path: Path) -> str:
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        problem = f"names `{path}`, which ends with no known format"
        raise InvalidSettingError("plot", problem, hint="end the name with .png, .svg or .html")
    return kind
