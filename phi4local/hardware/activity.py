"""What a machine is busy with, and what slows it down: readings at one moment, from /proc and /sys on Linux.

Counters are compared at two moments by `phi4local.bench.conditions`. What a system does not tell is `None`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """Counters and states at one moment.

    Attributes:
        at_seconds: monotonic clock.
        processors: hardware threads of the whole machine.
        busy_seconds: time that they worked since the start, for anybody.
        stolen_seconds: time that a hypervisor gave to others while this machine wanted to work.
        own_seconds: processor time of this process and of all its descendants, ended ones too.
        throttle_events: how often a core or package was slowed down for heat.
        clock_share: clock of the fastest core now, divided by the highest that the processor has.
        allowed_clock_share: highest clock that the power settings allow, divided by the same.
        on_battery: whether a battery is being emptied.
        energy: microjoules by domain, and where each counter begins again.
    """

    at_seconds: float
    processors: int = 0
    busy_seconds: float | None = None
    stolen_seconds: float | None = None
    own_seconds: float | None = None
    throttle_events: int | None = None
    clock_share: float | None = None
    allowed_clock_share: float | None = None
    on_battery: bool | None = None
    energy: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def read(root: Path = Path("/"), process: int | None = None) -> Activity:
    """Return the readings of this moment; a few milliseconds.

    Args:
        root: folder with `proc` and `sys`, as Linux has them.
        process: whose time is our own; this process.

    Source: proc(5); Documentation/admin-guide/pm/cpufreq.rst, Documentation/power/powercap/powercap.rst and
    Documentation/ABI/testing/sysfs-class-power of Linux.
    """
    busy, stolen, processors = _processor_times(root)
    folders = _processors(root)
    return Activity(
        at_seconds=time.monotonic(),
        processors=processors or os.cpu_count() or 1,
        busy_seconds=busy,
        stolen_seconds=stolen,
        own_seconds=_own_seconds(root, process or os.getpid()) if busy is not None else None,
        throttle_events=_throttle_events(folders),
        clock_share=_share(folders, "scaling_cur_freq"),
        allowed_clock_share=_share(folders, "scaling_max_freq"),
        on_battery=_on_battery(root),
        energy=_energy(root),
    )


def clock_share(root: Path = Path("/")) -> float | None:
    """Return the clock of the fastest core now, divided by the highest that the processor has."""
    return _share(_processors(root), "scaling_cur_freq")


def _processors(root: Path) -> list[Path]:
    return sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*"))


def _processor_times(root: Path) -> tuple[float | None, float | None, int]:
    """Return busy and stolen seconds of all processors, and how many there are."""
    lines = _text(root / "proc/stat").splitlines()
    if not lines or not lines[0].startswith("cpu "):
        return None, None, 0
    # user nice system idle iowait irq softirq steal guest guest_nice; guests are part of user
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, lines[0].split()[1:9])
    busy = user + nice + system + interrupts + soft
    processors = sum(line.startswith("cpu") for line in lines) - 1
    return busy / _TICKS_PER_SECOND, stolen / _TICKS_PER_SECOND, processors


def _own_seconds(root: Path, process: int) -> float:
    """Return the time of a process and its descendants; a child that ends counts on in its parent."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for path in (root / "proc").glob("[0-9]*/stat"):
        # The name in brackets may hold anything, brackets and spaces too.
        fields = _text(path).rpartition(")")[2].split()
        if len(fields) > 14:
            number = int(path.parent.name)
            children.setdefault(int(fields[1]), []).append(number)
            ticks[number] = sum(map(int, fields[11:15]))  # utime stime cutime cstime
    found, waiting = 0, [process]
    while waiting:
        number = waiting.pop()
        found += ticks.get(number, 0)
        waiting += children.get(number, ())
    return found / _TICKS_PER_SECOND


def _throttle_events(folders: list[Path]) -> int | None:
    """Add up the cores' counters; the largest of a package's, since each of its cores shows the same one."""
    cores = [_number(folder / "thermal_throttle/core_throttle_count") for folder in folders]
    packages = [_number(folder / "thermal_throttle/package_throttle_count") for folder in folders]
    known = [count for count in cores if count is not None]
    return sum(known) + max((count or 0 for count in packages), default=0) if known else None


def _share(folders: list[Path], name: str) -> float | None:
    shares = []
    for folder in folders:
        value, highest = (_number(folder / "cpufreq" / file) for file in (name, "cpuinfo_max_freq"))
        if value and highest:
            shares.append(value / highest)
    return max(shares, default=None)


def _on_battery(root: Path) -> bool | None:
    if sys.platform == "darwin":
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            asked = ["/usr/bin/pmset", "-g", "ps"]
            answer = subprocess.run(asked, capture_output=True, text=True, timeout=2, check=True)  # noqa: S603
            return "'Battery Power'" in answer.stdout
        return None
    if sys.platform == "win32":
        return None
    return any(_empties(folder) for folder in (root / "sys/class/power_supply").glob("*"))


def _empties(folder: Path) -> bool:
    """Return whether a power supply is a battery in use; a mouse or a headset has a battery too."""
    kind, scope, status = (_text(folder / name).strip() for name in ("type", "scope", "status"))
    return kind == "Battery" and scope != "Device" and status == "Discharging"


def _energy(root: Path) -> dict[str, tuple[int, int]]:
    """Return the counters of packages and memory; most systems let only root read them."""
    found = {}
    for folder in (root / "sys/class/powercap").glob("intel-rapl:*"):  # AMD's have this name too
        name = _text(folder / "name").strip()
        energy, limit = (_number(folder / file) for file in ("energy_uj", "max_energy_range_uj"))
        if (name.startswith("package") or name == "dram") and energy is not None and limit:
            found[folder.name] = (energy, limit)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None
