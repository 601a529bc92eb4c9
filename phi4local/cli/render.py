"""Everything that rich draws: tables on stdout, progress and notices on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from phi4local.cli.text import json_visible, visible
from phi4local.cli.wrap import WordWrap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.store.installed import InstalledModel


def size(size_bytes: float) -> str:
    """Return a size as people write it, decimal. Example: 9_056_000_000 → "9.06 GB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.3g} {unit}"
    return f"{size_bytes:.0f} B"


def count(number: float) -> str:
    """Return a count of parameters. Examples: 14_659_507_200 → "14.7B"; 10_227_968 → "10.2M"."""
    for unit, factor in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= factor:
            return f"{number / factor:.3g}{unit}"
    return f"{number:.0f}"


def print_json(value: Any) -> None:  # noqa: ANN401
    """Print facts for programs; what could steer a terminal is escaped, as JSON allows."""
    sys.stdout.write(json_visible(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def write(text: str) -> None:
    """Write lines on stdout."""
    sys.stdout.write(visible(text, keep_lines=True) + "\n")


def notice(text: str) -> None:
    """Say one line on stderr; a terminal gets it broken between words."""
    sys.stderr.write(_wrapped(visible(text)) + "\n")
    sys.stderr.flush()


def _wrapped(text: str) -> str:
    if not sys.stderr.isatty():
        return text
    wrap = WordWrap(shutil.get_terminal_size().columns)
    return wrap.feed(text) + wrap.finish()


def columns(rows: Sequence[tuple[str, str]]) -> None:
    """Say two columns on stderr, the right one broken between words."""
    indent = max(len(left) for left, _ in rows) + 2
    room = max(20, (shutil.get_terminal_size().columns if sys.stderr.isatty() else 200) - indent)
    for left, right in rows:
        first, *more = textwrap.wrap(visible(right), room) or [""]
        sys.stderr.write(f"{visible(left):<{indent}}{first}\n")
        sys.stderr.writelines(f"{'':<{indent}}{line}\n" for line in more)
    sys.stderr.flush()


def times(number: int, one: str, many: str | None = None) -> str:
    """Return a number and its noun. Example: `times(2, "turn")` is "2 turns"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def dim_notice(text: str) -> None:
    """Say one line on stderr that matters less than the answer: dimmed on a terminal that has colours."""
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        sys.stderr.write(f"\x1b[2m{_wrapped(visible(text))}\x1b[0m\n")
        sys.stderr.flush()
    else:
        notice(text)


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    on_stderr: bool = False,
) -> None:
    """Print a table on stdout; the columns in `right` hold numbers. Cells are never markup."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(visible(title)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    console = Console(highlight=False, stderr=on_stderr)
    if not console.is_terminal:
        console.width = 200  # a pipe has no width: never break a path
    console.print(drawn)


def installed(model: InstalledModel) -> dict[str, Any]:
    """Return the facts of a model in the store, for JSON."""
    return {
        "name": str(model.reference),
        "quantization": model.quantization,
        "size_bytes": model.size_bytes,
        "source": model.source,
        "sha256": model.fingerprint,
        "id": model.manifest.sha256[:12],
        "path": str(model.path),
    }
