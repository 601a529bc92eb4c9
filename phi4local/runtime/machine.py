"""What a model may use on this machine, for the table before a pull."""

from __future__ import annotations

from phi4local import hardware
from phi4local.runtime.offers import Machine


def this_machine() -> Machine:
    """Return the memory that programs can have."""
    memory = hardware.describe()["memory_bytes"]
    return Machine(memory_bytes=int(memory) * 85 // 100)
