"""Power and slow-downs of NVIDIA GPUs while something else runs, told by one nvidia-smi in the background."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Self

_EVERY_MILLISECONDS = 500
_QUERY = "index,power.draw,clocks_throttle_reasons.active"

_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "heat",
    0x40: "heat",
    0x80: "power brake",
}
"""Bits of nvmlClocksEventReasons that slow down; the others are idleness and settings. Source: nvml.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One GPU at one moment. `watts` is `None` where the board does not measure."""

    at_seconds: float
    index: int
    watts: float | None
    slowed_by: frozenset[str]


def parse(line: str, at_seconds: float) -> GpuReading | None:
    """Return what a line says. Example: "0, 312.45, 0x0000000000000004" → 312.45 W, held by its power cap."""
    parts = [part.strip() for part in line.split(",")]
    try:
        index, mask = int(parts[0]), int(parts[2], 16)
    except (ValueError, IndexError):
        return None
    watts = None
    with contextlib.suppress(ValueError):  # "[N/A]"
        watts = float(parts[1])
    slowed_by = frozenset(reason for bit, reason in _REASONS.items() if mask & bit)
    return GpuReading(at_seconds=at_seconds, index=index, watts=watts, slowed_by=slowed_by)


class Monitor:
    """Collects readings until it is closed; without nvidia-smi there are none.

    Example::

        with Monitor() as monitor:
            begun = time.monotonic()
            ...
            monitor.since(begun)
    """

    def __init__(self) -> None:
        self._readings: list[GpuReading] = []
        self._child: subprocess.Popen[str] | None = None
        program = shutil.which("nvidia-smi")
        if program is None:
            return
        command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError):
            self._child = subprocess.Popen(  # noqa: S603 - the driver's own program
                [*command, f"-lms={_EVERY_MILLISECONDS}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self._thread = threading.Thread(target=self._collect, daemon=True)
            self._thread.start()

    def _collect(self) -> None:
        if self._child is None or self._child.stdout is None:
            return
        for line in self._child.stdout:
            reading = parse(line, time.monotonic())
            if reading:
                self._readings.append(reading)

    def since(self, at_seconds: float) -> list[GpuReading]:
        """Return the readings since a moment of the monotonic clock."""
        return [reading for reading in list(self._readings) if reading.at_seconds >= at_seconds]

    def close(self) -> None:
        """End nvidia-smi."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._thread.join()
            if self._child.stdout is not None:
                self._child.stdout.close()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()
