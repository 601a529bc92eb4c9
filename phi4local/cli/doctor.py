"""`phi4local doctor`: is everything right here, and what to type when it is not."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.doctor import Result

_MARKS = {"ok": "ok", "warning": "warn", "wrong": "WRONG", "skipped": "-"}
_COLOURS = {"ok": "32", "warning": "33", "wrong": "1;31", "skipped": "2"}
_NAME_CELLS, _MARK_CELLS = 20, 5
_WIDEST = 120


def doctor(
    seconds: Annotated[
        float,
        typer.Option("--timeout", min=0.1, help="Seconds for loading llama.cpp, and for each device's proof"),
    ] = 60.0,
    attack: Annotated[
        bool, typer.Option("--self-test", help="Try hostile input instead: damaged files, names, templates")
    ] = False,
    json: options.Json = False,
) -> None:
    """Look whether everything is right here, and say what to type when it is not.

    Proves the engine too: phi4-nano answers on each device, and its tokens are compared with recorded ones.
    The exit code is 1 when something is wrong; warnings alone are 0. Example: phi4local doctor
    """
    from phi4local.doctor.result import WRONG, report

    if attack:
        from phi4local.doctor.self_test import self_test

        checks = self_test()
    else:
        from phi4local.doctor import examine

        checks = examine(seconds)
    results = []
    for result in checks:
        results.append(result)
        if not json:
            _show(result)
    if json:
        render.print_json(report(results))
    else:
        _show_summary(results)
    if any(result.state == WRONG for result in results):
        raise typer.Exit(1)


def _show(result: Result) -> None:
    """Write one check: its line, broken between words, then the command on a line of its own, unbroken."""
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDEST
    for line in lines(result, min(columns, _WIDEST), colours=_has_colours()):
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def lines(result: Result, columns: int, *, colours: bool = False) -> Iterator[str]:
    """Yield the lines of one check.

    Args:
        result: what was found.
        columns: cells of the terminal; only a command may be longer.
        colours: mark the state with one.
    """
    indent = " " * (_MARK_CELLS + _NAME_CELLS + 2)
    words = result.seen + (f"; {result.advice}" if result.advice else "")
    wrap = textwrap.TextWrapper(max(20, columns - len(indent) - 1))
    wrap.break_long_words = wrap.break_on_hyphens = False  # a path can be copied
    first, *more = wrap.wrap(visible(words)) or [""]
    mark = f"{_MARKS[result.state]:<{_MARK_CELLS}}"
    if colours:
        mark = f"\x1b[{_COLOURS[result.state]}m{mark}\x1b[0m"
    yield f"{mark} {visible(result.name):<{_NAME_CELLS}} {first}"
    for line in more:
        yield indent + line
    if result.command:
        yield f"{' ' * (_MARK_CELLS + 1)}$ {visible(result.command)}"


def _show_summary(results: list[Result]) -> None:
    from phi4local.doctor import summary

    counts = summary(results)
    warnings = f"{counts['warning']} warning{'s' if counts['warning'] != 1 else ''}"
    parts = [f"{counts['ok']} ok", warnings, f"{counts['wrong']} wrong", f"{counts['skipped']} skipped"]
    sys.stdout.write(f"\n{len(results)} checks: {', '.join(parts)}\n")


def _has_colours() -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain
