"""What else happened while something was measured: other programs, heat, batteries, energy.

A measurement that others disturbed is worth less than none, so every row carries this, and a person is told.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from phi4local.hardware import activity, nvidia

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phi4local.hardware.activity import Activity
    from phi4local.hardware.nvidia import GpuReading

_LEAST_CORES, _LEAST_SHARE = 0.1, 0.03
"""Of others, before it is worth a word: a tenth of a core, and 3 % of all of them."""
_LEAST_SECONDS = 0.05
"""Of others' time: the counters tick a hundred times a second, so a short test sees less only by chance."""
_LEAST_CLOCK = 0.6
"""All cores together rarely reach the highest clock of one; below this they are held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What happened between two moments; `None` is what this system does not tell.

    Attributes:
        seconds: between them.
        processors: hardware threads of the machine.
        other_cores: mean number of processors that other programs kept busy.
        stolen_cores: mean number that a hypervisor took away.
        throttle_events: how often the processor was slowed down for heat.
        clock_share: highest clock that was seen, of the highest that the processor has.
        allowed_clock_share: what the power settings allow of it.
        on_battery: at any of the two moments.
        gpu_slowed_by: why GPUs were slowed down.
        energy_joules: of processor packages, memory and GPUs together, as far as they tell.
        energy_of: which of `processor` and `gpu` are in it.
    """

    seconds: float
    processors: int
    other_cores: float | None = None
    stolen_cores: float | None = None
    throttle_events: int | None = None
    clock_share: float | None = None
    allowed_clock_share: float | None = None
    on_battery: bool | None = None
    gpu_slowed_by: tuple[str, ...] = ()
    energy_joules: float | None = None
    energy_of: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """Return what a person should know, a line each; nothing when the machine was quiet and cool."""
        least = max(_LEAST_CORES, _LEAST_SHARE * self.processors, _LEAST_SECONDS / self.seconds)
        lines = []
        if (self.other_cores or 0) > least:
            lines.append(
                f"other programs used {self.other_cores:.1f} of {self.processors} processors while this was "
                "measured: repeat it alone"
            )
        if (self.stolen_cores or 0) > least:
            lines.append(
                f"the host gave {self.stolen_cores:.1f} of {self.processors} processors to others: this "
                "virtual machine can be faster"
            )
        return lines + self._notes_of_power()

    def _notes_of_power(self) -> list[str]:
        lines = []
        if self.throttle_events:
            lines.append(
                f"the processor was slowed down for heat {self.throttle_events:,} times: let it cool, or "
                "measure with --delay 60"
            )
        if self.gpu_slowed_by:
            lines.append(f"a GPU was slowed down by {' and '.join(self.gpu_slowed_by)}")
        if self.on_battery:
            lines.append("measured on battery: most laptops are faster when plugged in")
        if (self.allowed_clock_share or 1) < _LEAST_CLOCK:
            lines.append(
                f"power settings hold the processor at {self.allowed_clock_share:.0%} of its clock: choose "
                "the performance mode"
            )
        elif (self.clock_share or 1) < _LEAST_CLOCK:
            lines.append(f"the processor never ran at more than {self.clock_share:.0%} of its clock")
        return lines

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields and the notes as plain JSON values."""
        values = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return values | {"notes": self.notes()}


class Watch:
    """Watches the machine while rows are measured.

    Example::

        with Watch() as watch:
            watch.begin()  # ... measure, calling watch.look() now and then ...
            conditions = watch.end()
    """

    def __init__(self, root: Path = Path("/"), *, gpu: bool = False) -> None:
        self._root = root
        self._monitor = nvidia.Monitor() if gpu else None
        self._first: Activity | None = None
        self._clocks: list[float | None] = []

    def begin(self) -> None:
        """Begin anew: what was before, such as loading and warming up, does not count."""
        self._first, self._clocks = activity.read(self._root), []

    def look(self) -> None:
        """Look at the clock in the middle of the work; at its end it may have come down already."""
        if self._first:
            self._clocks.append(activity.clock_share(self._root))

    def end(self, *, gpu: bool = True) -> Conditions | None:
        """Return what happened since `begin`, to GPUs if they worked; `None` if that was never called."""
        if not self._first:
            return None
        first, last, self._first = self._first, activity.read(self._root), None
        readings = self._monitor.since(first.at_seconds) if self._monitor and gpu else []
        clocks = [share for share in (*self._clocks, last.clock_share) if share is not None]
        return replace(between(first, last, readings), clock_share=max(clocks, default=None))

    def close(self) -> None:
        """Stop asking the GPU."""
        if self._monitor:
            self._monitor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()


def between(first: Activity, last: Activity, readings: Iterable[GpuReading] = ()) -> Conditions:
    """Return what happened from one reading to a later one, and of the GPUs meanwhile.

    Example: 10 s, 18 s of work of all processors, 12 s of it our own → others used 0.6 of them.
    """
    seconds = max(last.at_seconds - first.at_seconds, 1e-3)
    busy, own = _grown(first.busy_seconds, last.busy_seconds), _grown(first.own_seconds, last.own_seconds)
    stolen = _grown(first.stolen_seconds, last.stolen_seconds)
    throttled = _grown(first.throttle_events, last.throttle_events)
    seen_readings = list(readings)
    joules = {"processor": _processor_joules(first, last), "gpu": _gpu_joules(seen_readings, seconds)}
    known = {name: value for name, value in joules.items() if value is not None}
    return Conditions(
        seconds=round(seconds, 3),
        processors=last.processors,
        other_cores=None if busy is None or own is None else _cores(busy - own, seconds, last.processors),
        stolen_cores=None if stolen is None else round(stolen / seconds, 3),
        throttle_events=None if throttled is None else int(throttled),
        clock_share=last.clock_share,
        allowed_clock_share=last.allowed_clock_share,
        on_battery=None if last.on_battery is None else bool(last.on_battery or first.on_battery),
        gpu_slowed_by=tuple(sorted({reason for reading in seen_readings for reason in reading.slowed_by})),
        energy_joules=round(sum(known.values()), 3) if known else None,
        energy_of=tuple(known),
    )


def _cores(busy_seconds: float, seconds: float, processors: int) -> float:
    """Return how many processors were busy; ticking counters can show less than none, or more than all."""
    return round(min(max(0.0, busy_seconds / seconds), processors), 3)


def _grown(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else max(0, last - first)


def _processor_joules(first: Activity, last: Activity) -> float | None:
    """Return what all domains used; a counter that began again is followed over its end."""
    shared = [name for name in first.energy if name in last.energy]
    if not shared:
        return None
    return sum((last.energy[name][0] - first.energy[name][0]) % last.energy[name][1] for name in shared) / 1e6


def _gpu_joules(readings: list[GpuReading], seconds: float) -> float | None:
    """Return the mean power of each GPU times the time."""
    watts = defaultdict(list)
    for reading in readings:
        if reading.watts is not None:
            watts[reading.index].append(reading.watts)
    return seconds * sum(map(statistics.fmean, watts.values())) if watts else None
