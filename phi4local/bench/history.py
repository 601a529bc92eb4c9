"""The same test over time: every kept measurement of it, and what changed from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.bench.compare import SETTINGS, Ratio, ratio
from phi4local.bench.sources import to_row

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from phi4local.bench.row import Row
    from phi4local.store.results import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One row of a test's history.

    Attributes:
        run: id of the run that it belongs to.
        row: what was measured.
        change: against the measurement before; `None` for the first one.
    """

    run: str
    row: Row
    change: Ratio | None

    def to_mapping(self) -> dict[str, Any]:
        """Return plain JSON values."""
        change = self.change
        return {
            "run": self.run,
            "test_time": self.row.test_time,
            "version": self.row.version,
            "avg_ts": self.row.avg_ts,
            "stddev_ts": self.row.stddev_ts,
            "change_percent": change.percent if change else None,
            "change": change.verdict if change else None,
            "notes": list(self.row.conditions.get("notes", ())),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A test's measurements, oldest first.

    Attributes:
        key: of the test in the kept results.
        model: its name at the newest measurement.
        test: llama-bench's name of the test, with the settings in which it differs from other histories.
        measurements: at least one.
    """

    key: str
    model: str
    test: str
    measurements: tuple[Measurement, ...]


def histories(
    kept: Sequence[Run],
    models: Collection[str] = (),
    report: Callable[[str], None] = lambda _line: None,
) -> list[History]:
    """Return the histories of all tests, in the order in which they were measured first.

    Args:
        kept: runs, oldest first, as `store.results.runs` returns them.
        models: names of models to leave the others out; without a tag, all tags of it.
        report: told what is damaged and was left out.
    """
    found: dict[str, list[tuple[str, Row]]] = {}
    for run in kept:
        for number, values in enumerate(run.rows, start=1):
            try:
                row = to_row(values)
            except ValueError as error:
                report(f"row {number} of result `{run.id}` is damaged ({error}) and was left out")
                continue
            if not models or row.model in models or row.model.partition(":")[0] in models:
                found.setdefault(values["key"], []).append((run.id, row))
    newest = [entries[-1][1] for entries in found.values()]
    return [
        History(
            key=key,
            model=entries[-1][1].model,
            test=_name(entries[-1][1], newest),
            measurements=_measurements(entries),
        )
        for key, entries in found.items()
    ]


def _measurements(entries: Sequence[tuple[str, Row]]) -> tuple[Measurement, ...]:
    before = [None, *(row for _run, row in entries[:-1])]
    return tuple(
        Measurement(run=run, row=row, change=ratio(old.samples_ns, row.samples_ns) if old else None)
        for old, (run, row) in zip(before, entries, strict=True)
    )


def _name(row: Row, others: Sequence[Row]) -> str:
    """Return the test's name, with the settings that tell it from others of the same name and model."""
    same = [other for other in others if (other.model, other.test) == (row.model, row.test)]
    named = [name for name in (*SETTINGS, "parallel") if name != "model_filename"]
    telling = [name for name in named if len({getattr(other, name) for other in same}) > 1]
    return ", ".join([row.test, *(f"{name.removeprefix('n_')} {getattr(row, name)}" for name in telling)])
