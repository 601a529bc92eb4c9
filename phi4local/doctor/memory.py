"""Main memory, how fast it is, and what of the family it has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local import catalog, hardware, planning
from phi4local.doctor.result import OK, WARNING, WRONG, Result
from phi4local.hardware import bandwidth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.planning import ModelShape

FAMILY = ("phi-4", "phi-4-mini-instruct")
"""Large to small, in the quantization that is pulled when nobody asks for another."""


def check() -> Iterator[Result]:
    """Yield how much memory is free, and how fast it is read."""
    machine = hardware.Machine(
        memory_bytes=hardware.memory_bytes(),
        available_bytes=hardware.available_bytes(),
        cores=hardware.usable_cores(),
    )
    seen = f"{machine.available_bytes / 1e9:.1f} of {machine.memory_bytes / 1e9:.1f} GB free"
    if not machine.available_bytes:
        yield Result(name="memory", state=WARNING, seen="the system does not tell how much is free")
    else:
        fitting = [name for name in FAMILY if planning.fit(shape(name), machine).fits]
        if fitting:
            yield Result(name="memory", state=OK, seen=f"{seen}: room for {fitting[0]} on the processor")
        else:
            seen += f": too little for {FAMILY[-1]} on the processor"
            advice = "close other programs, or look what fits"
            yield Result(
                name="memory", state=WARNING, seen=seen, advice=advice, command="phi4local recommend"
            )
    yield check_speed(bandwidth.measured(), machine.cores)


def check_speed(bytes_per_second: float, cores: int) -> Result:
    """Say how fast the cores read, and what that allows: each token reads all weights once.

    Example: 25e9 bytes per second and 9.05e9 bytes of weights → at most 2.8 tokens per second.
    """
    weight_bytes = shape(FAMILY[0]).weight_bytes
    seen = f"{bytes_per_second / 1e9:.0f} GB/s with {cores} core{'s' if cores != 1 else ''}"
    seen += (
        f": at most {bytes_per_second / weight_bytes:.1f} tokens per second of {FAMILY[0]} on the processor"
    )
    state = OK if bytes_per_second > 0 else WRONG
    return Result(name="memory speed", state=state, seen=seen)


def shape(name: str) -> ModelShape:
    """Return the shape of a family member in its usual quantization."""
    manifest = catalog.find(name)
    return planning.manifest_shape(manifest, manifest.quantization)
