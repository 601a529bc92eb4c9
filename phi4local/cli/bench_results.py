"""What `bench` does with rows beside printing them: watch, keep, compare, draw."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from phi4local.cli import bench_chart, bench_compare
from phi4local.cli.bench_options import OUTPUT
from phi4local.errors import FileWriteError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from phi4local.bench.conditions import Conditions
    from phi4local.bench.row import Row
    from phi4local.bench.run import Step
    from phi4local.cli.bench_output import Printer

KEPT = "Kept results"

Compare = Annotated[
    list[str] | None,
    typer.Option(
        "--compare",
        metavar="FILE|last|RUN",
        help="Compare with an earlier run or llama-bench's JSON; twice: those two, measuring nothing",
        rich_help_panel=KEPT,
        show_default=False,
    ),
]
History = Annotated[
    bool, typer.Option("--history", help="Show what was kept and measure nothing", rich_help_panel=KEPT)
]
NoSave = Annotated[bool, typer.Option("--no-save", help="Do not keep the results", rich_help_panel=KEPT)]
Plots = Annotated[
    list[str] | None,
    typer.Option(
        "--plot",
        metavar="FILE.png|svg|html",
        help="Draw charts; repeatable, needs the extra `plot`",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]


def only_shows(given: Mapping[str, Any], *, json: bool) -> bool:
    """Show kept results if that is all that was asked for; return whether it was."""
    if given["history"]:
        bench_compare.show_history(given["models"] or (), json=json, plots=given["plot"] or ())
        return True
    if len(given["compare"] or ()) < 2:
        return False
    bench_compare.show_kept(given["compare"], json=json)
    return True


class Keeper:
    """Stands between the measurement and the printer; what is asked of it is checked before anything runs.

    Raises:
        InvalidSettingError, MissingExtraError, OutputExistsError: a chart that cannot be written.
        UnknownResultError, FileFormatError: nothing to compare with.
    """

    def __init__(self, given: Mapping[str, Any], printer: Printer) -> None:
        from phi4local import hardware
        from phi4local.bench import plot
        from phi4local.bench.conditions import Watch

        self._printer, self._save, self._force = printer, not given["no_save"], given["force"]
        self._plots = plot.check_files(given["plot"] or (), overwrite=self._force)
        self._old = bench_compare.Old.of(given["compare"], printer.note)
        self._watch = Watch(gpu=bool(hardware.this_machine().gpus))
        self._said: set[str] = set()

    def step(self, step: Step) -> None:
        """Look at the machine, and show what is being measured."""
        self._printer.step(step)
        if step.repeat == 1:
            self._watch.begin()
        elif step.repeat:
            self._watch.look()

    def note(self, line: str) -> None:
        """Say a line on stderr."""
        self._printer.note(line)

    def row(self, row: Row) -> None:
        """Take a row: complete it with what happened meanwhile, and print it."""
        found = self._watch.end(gpu=row.n_gpu_layers != 0)
        if found and row.path != "server":  # that one may be on another machine
            row = _with_conditions(row, found)
            self._tell(row.test, found)
        self._printer.row(row)

    def _tell(self, test: str, found: Conditions) -> None:
        """Say each kind of disturbance once; every row keeps its own."""
        for line in found.notes():
            kind = "".join(character for character in line if not character.isdigit())
            if kind not in self._said:
                self._said.add(kind)
                self._printer.note(f"{test}: {line}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was measured, whatever happened; draw and compare if nothing did."""
        self._watch.close()
        rows = self._printer.rows
        if not rows:
            return
        entries = _entries(rows)
        if self._save:
            self._keep(entries)
        if kind is not None:
            return
        self._old.show(rows, entries, to_stderr=self._printer.writes_data)
        if not self._printer.writes_data:
            bench_chart.show(rows)
        _write_charts(self._plots, rows, overwrite=self._force)

    def _keep(self, entries: list[dict[str, Any]]) -> None:
        from phi4local.store import results

        try:
            results.keep(entries)
        except FileWriteError as error:  # the figures on the screen are worth more than the error
            self._printer.note(f"the results were not kept: {error}")


def _write_charts(paths: Iterable[Path], rows: Sequence[Row], *, overwrite: bool) -> None:
    """Draw the rows into each file."""
    from phi4local.bench import plot
    from phi4local.bench.charts import speed_charts

    for path in paths:
        plot.write(path, speed_charts(rows), overwrite=overwrite)


def _with_conditions(row: Row, found: Conditions) -> Row:
    joules = None
    if found.energy_joules is not None and row.samples_ns:
        joules = round(found.energy_joules / len(row.samples_ns), 3)
    return replace(row, conditions=found.to_mapping(), energy_joules=joules)


def _entries(rows: list[Row]) -> list[dict[str, Any]]:
    """Return the rows as they are kept: with the digest of their model's file."""
    from pathlib import Path

    from phi4local.store import results

    digests = {
        name: results.model_digest(Path(name)) for name in {row.model_filename for row in rows} if name
    }
    return [row.to_mapping() | {"model_digest": digests.get(row.model_filename, "")} for row in rows]
