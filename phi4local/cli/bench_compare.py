"""Print comparisons and histories of benchmark results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from phi4local.cli import render
from phi4local.errors import UnknownResultError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from phi4local.bench.compare import Pair, Ratio
    from phi4local.bench.history import History
    from phi4local.bench.row import Row
    from phi4local.store.results import Run

_WHOLE_VALUES = 60


def show_kept(names: Sequence[str], *, json: bool) -> None:
    """Compare two earlier measurements.

    Raises:
        UnknownResultError, FileFormatError: one of them is none.
        InvalidSettingError: more than two.
    """
    from phi4local.bench.compare import pairs
    from phi4local.bench.sources import rows_of
    from phi4local.errors import InvalidSettingError
    from phi4local.store import results

    if len(names) > 2:
        raise InvalidSettingError("compare", "is given more than twice", hint="name two runs or files")
    kept = results.runs(render.notice)
    old, new = (rows_of(name, kept, render.notice) for name in names)
    found = pairs(old, new)
    if not found:
        raise UnknownResultError(names[0], f"no test of it is in `{names[1]}`")
    if json:
        render.print_json(_mapping(found))
    else:
        print_comparison(f"{names[1]} against {names[0]}", found)


@dataclass(frozen=True, slots=True)
class Old:
    """What a new measurement is compared with: rows of a file or run, or with `last` whichever run fits."""

    name: str | None
    rows: tuple[Row, ...]
    kept: tuple[Run, ...]

    @classmethod
    def of(cls, names: Sequence[str] | None, note: Callable[[str], None]) -> Self:
        """Return what the option names; nothing without it.

        Raises:
            UnknownResultError, FileFormatError: it is none.
        """
        from phi4local.bench.sources import rows_of
        from phi4local.store import results

        if not names:
            return cls(None, (), ())
        kept = results.runs(note)
        return cls(names[0], rows_of(names[0], kept, note), kept)

    def show(self, rows: Sequence[Row], entries: Sequence[Mapping[str, Any]], *, to_stderr: bool) -> None:
        """Print the comparison with new rows; `entries` are the same ones as they are kept."""
        from phi4local.bench.compare import pairs
        from phi4local.bench.sources import run_rows

        if self.name is None:
            return
        name, old = self.name, self.rows
        if name == "last" and not Path(name).is_file():
            run = self._last(entries)
            name, old = run.id, run_rows(run)
        found = pairs(old, rows)
        if found:
            print_comparison(f"now against {name}", found, to_stderr=to_stderr)
        else:
            render.notice(f"note: no test of `{name}` was measured now, so nothing can be compared")

    def _last(self, entries: Sequence[Mapping[str, Any]]) -> Run:
        """Return the newest run that measured one of these tests; the newest of all if none did."""
        from phi4local.store import results

        machine = results.this_machine()["key"]
        keys = {results.key_of(entry, machine) for entry in entries}
        same = [run for run in self.kept if keys & {row["key"] for row in run.rows}]
        return (same or list(self.kept))[-1]


def print_comparison(title: str, found: Sequence[Pair], *, to_stderr: bool = False) -> None:
    """Print a line for each pair, and beneath what else differs."""
    from phi4local.bench.compare import differences

    several = len({pair.new.model for pair in found}) > 1
    columns = (
        *(("MODEL",) if several else ()),
        "TEST",
        "BEFORE",
        "NOW tok/s",
        "RATIO (95 %)",
        "CHANGE",
    )
    rows = [
        (
            *((pair.new.model,) if several else ()),
            pair.new.test,
            _number(pair.old.avg_ts),
            _number(pair.new.avg_ts),
            f"{pair.ratio.value:.3f}{_interval(pair.ratio)}",
            pair.ratio.verdict,
        )
        for pair in found
    ]
    render.table(title, columns, rows, right=columns[-4:-1], on_stderr=to_stderr)
    for name, (old, new) in differences(found).items():
        render.notice(f"differs: {name} {_short(old)} -> {_short(new)}")


def show_history(models: Sequence[str], *, json: bool, plots: Sequence[str]) -> None:
    """Print every kept test over time.

    Raises:
        InvalidSettingError: a chart is asked for.
    """
    from phi4local.bench.history import histories
    from phi4local.errors import InvalidSettingError
    from phi4local.store import results

    if plots:
        raise InvalidSettingError("plot", "cannot stand beside `--history`", hint="draw while measuring")
    kept = results.runs(render.notice)
    found = histories(kept, models, render.notice)
    if json:
        render.print_json([_history_mapping(history) for history in found])
        return
    if not found:
        which = f"nothing of {', '.join(models)} was" if models else "nothing was"
        render.notice(f"{which} kept on this machine yet: `phi4local bench` measures")
    for model in dict.fromkeys(history.model for history in found):
        _print_histories(model, [history for history in found if history.model == model])


def _print_histories(model: str, found: Sequence[History]) -> None:
    """Print a table; ids of runs begin with the time."""
    measured = [measurement for history in found for measurement in history.measurements]
    several = len({measurement.row.version for measurement in measured}) > 1
    columns = ("TEST", "RUN", *(("VERSION",) if several else ()), "tok/s", "CHANGE")
    rows = [
        (
            history.test if index == 0 else "",
            measurement.run,
            *((measurement.row.version,) if several else ()),
            _rate(measurement.row),
            _change(measurement.change),
        )
        for history in found
        for index, measurement in enumerate(history.measurements)
    ]
    render.table(model, columns, rows, right=["tok/s"])
    if any(measurement.row.conditions.get("notes") for measurement in measured):
        render.notice("* something disturbed this measurement; `--history --json` says what")


def _change(change: Ratio | None) -> str:
    return f"{change.percent:+.1f} % {change.verdict}" if change else ""


def _history_mapping(history: History) -> dict[str, Any]:
    measurements = [measurement.to_mapping() for measurement in history.measurements]
    return {"key": history.key, "model": history.model, "test": history.test, "measurements": measurements}


def _mapping(found: Sequence[Pair]) -> dict[str, Any]:
    from phi4local.bench.compare import differences

    rows = [
        {
            "model": pair.new.model,
            "test": pair.new.test,
            "before_ts": pair.old.avg_ts,
            "now_ts": pair.new.avg_ts,
            **{f"ratio_{name}": value for name, value in asdict(pair.ratio).items()},
            "change": pair.ratio.verdict,
        }
        for pair in found
    ]
    return {"rows": rows, "differences": {name: list(both) for name, both in differences(found).items()}}


def _rate(row: Row) -> str:
    disturbed = "*" if row.conditions.get("notes") else " "
    digits = _digits(row.avg_ts)
    return f"{row.avg_ts:,.{digits}f} ± {row.stddev_ts:,.{digits}f}{disturbed}"


def _number(value: float) -> str:
    return f"{value:,.{_digits(value)}f}"


def _digits(value: float) -> int:
    return 0 if value >= 1000 else 1 if value >= 10 else 2


def _interval(ratio: Ratio) -> str:
    return "" if ratio.low is None or ratio.high is None else f" ({ratio.low:.3f}-{ratio.high:.3f})"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _WHOLE_VALUES else f"...{text[-_WHOLE_VALUES:]}"
