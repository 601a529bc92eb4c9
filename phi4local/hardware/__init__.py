"""What this machine has: cores, memory, devices and how fast memory is. Asked, never assumed."""

from phi4local.hardware.machine import Gpu, Machine, gpus_now, this_machine
from phi4local.hardware.memory import available_bytes, memory_bytes
from phi4local.hardware.processor import (
    describe,
    instruction_sets,
    page_reads,
    peak_memory_bytes,
    usable_cores,
)

__all__ = [
    "Gpu",
    "Machine",
    "available_bytes",
    "describe",
    "gpus_now",
    "instruction_sets",
    "memory_bytes",
    "page_reads",
    "peak_memory_bytes",
    "this_machine",
    "usable_cores",
]
