"""The largest file that this machine has room for, before the file exists."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from phi4local import hardware, planning
from phi4local.convert import plan_conversion
from phi4local.errors import NotEnoughMemoryError

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.convert import ConversionPlan
    from phi4local.hardware import Machine
    from phi4local.settings import LoadSettings

_MODEL = "Q4_K_M"
"""What the memory beside the weights is planned with: it hardly depends on their types."""
LARGEST = "Q8_0"
"""More bits than these change no answer."""


@dataclass(frozen=True, slots=True)
class Room:
    """How large a file may be.

    Attributes:
        file_bytes: most bytes of the file.
        place: "GPU" when all of it fits there, else "memory".
        context_tokens: that fit beside it.
    """

    file_bytes: int
    place: str
    context_tokens: int


def room_for(checkpoint: Path, settings: LoadSettings, machine: Machine | None = None) -> Room:
    """Return how large a file of a checkpoint may be, so that it fits with its cache and buffers.

    A file that fits on the GPU is preferred, as long as it has four bits for each weight.

    Args:
        checkpoint: a folder or GGUF file that can be converted.
        settings: with the context that is wanted.
        machine: this one, if left out.

    Example: Phi-4 with 4,096 tokens on a machine with 12 GB free → about 11 GB, "memory".

    Raises:
        NotEnoughMemoryError: not even the cache and buffers fit.
        CheckpointError, ConversionError: as `plan_conversion`.
    """
    machine = machine or hardware.this_machine()
    usual = plan_conversion(checkpoint, _MODEL)
    most = plan_conversion(checkpoint, LARGEST).size_bytes
    shape = planning.model_shape(_as_header(usual))
    if machine.gpus:
        free = sum(gpu.free_bytes for gpu in machine.gpus)
        roomy = replace(machine, gpus=tuple(replace(gpu, free_bytes=2**50) for gpu in machine.gpus))
        plan = planning.fit(shape, roomy, settings=settings)
        needed = sum(device.needed_bytes for device in plan.devices[1:])
        if free - (needed - usual.size_bytes) >= usual.size_bytes:
            return Room(min(most, free - (needed - usual.size_bytes)), "GPU", plan.context_tokens)
    alone = replace(machine, gpus=(), available_bytes=2**50)
    plan = planning.fit(shape, alone, settings=settings)
    beside = plan.memory_bytes - usual.size_bytes
    if beside >= machine.available_bytes:
        raise NotEnoughMemoryError(
            "main memory",
            needed_bytes=plan.memory_bytes,
            free_bytes=machine.available_bytes,
            nearest="take a smaller `--context`, or close other programs",
        )
    return Room(min(most, machine.available_bytes - beside), "memory", plan.context_tokens)


def _as_header(plan: ConversionPlan) -> Any:  # noqa: ANN401 - what `planning.model_shape` asks of a header
    values = {entry.key: entry.value for entry in plan.metadata}
    tensors = [
        SimpleNamespace(
            name=tensor.name,
            shape=tuple(reversed(tensor.shape)),
            type=SimpleNamespace(name=tensor.type),
            offset=tensor.offset,
            size_bytes=tensor.size_bytes,
        )
        for tensor in plan.tensors
    ]
    return SimpleNamespace(
        architecture=values["general.architecture"],
        tensors=tensors,
        file_bytes=plan.size_bytes,
        get=lambda key, default=None: values.get(key, default),
    )
