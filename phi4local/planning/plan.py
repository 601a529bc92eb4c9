"""Does it fit, and how: the answer for one model on one machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local.planning.buffers import CELL_UNIT, Cells
from phi4local.planning.layers import DeviceMemory, LayerBytes, place
from phi4local.planning.shape import ModelShape, model_shape
from phi4local.planning.speed import Speeds, predict
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from phi4local.hardware import Machine
    from phi4local.planning.shape import HeaderLike

DEFAULT_CONTEXT_TOKENS = 4096
"""A context that fits beside a 4-bit Phi-4 in 12 GB; 800 MiB of KV cache there."""
BATCH_TOKENS = 512
"""Most tokens in one step; llama.cpp's own default, beyond which nothing gets faster."""
KEPT_SEQUENCES = 8
"""Finished sequences that can stay in the cache beside the live ones; each costs one row of logits."""
FEWEST_TOKENS = 512
"""A smaller context is of no use to a conversation, so none is proposed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a model is put on a machine. All sizes in bytes.

    Attributes:
        verdict: where it fits: "gpu" (all layers), "partly", "cpu", or "no".
        context_tokens: of each sequence.
        kv_type: element type of the KV cache.
        gpu_layers: layers on GPUs, the output counted as one.
        layers: of the model, the output counted as one: 41 for Phi-4.
        devices: what each holds, main memory first.
        largest_context_tokens: the most that fits with this KV type, up to the model's own limit; 0 if none.
        speeds: tokens per second; `None` if a bandwidth is not known.
        file_bytes: size of the file.
        threads: that compute on the CPU, one for each core.
        flash_attention: whether the fused kernel is counted on; llama.cpp takes it wherever a device can.

    Example: `fit(header, this_machine(), context_tokens=16384).verdict`.
    """

    verdict: str
    context_tokens: int
    kv_type: str
    gpu_layers: int
    layers: int
    devices: tuple[DeviceMemory, ...]
    largest_context_tokens: int
    speeds: Speeds | None
    file_bytes: int
    threads: int = 1
    flash_attention: bool = True

    @property
    def fits(self) -> bool:
        """Whether it can be loaded like this."""
        return self.verdict != "no"

    @property
    def memory_bytes(self) -> int:
        """What it takes on all devices together."""
        return sum(device.needed_bytes for device in self.devices)

    def to_mapping(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        names = ("layers", "weight_bytes", "kv_bytes", "compute_bytes", "output_bytes", "process_bytes")
        devices = [
            {"name": device.name}
            | {name: getattr(device, name) for name in names}
            | {"needed_bytes": device.needed_bytes, "available_bytes": device.available_bytes}
            for device in self.devices
        ]
        plain = ("verdict", "context_tokens", "kv_type", "gpu_layers", "layers", "largest_context_tokens")
        others = ("threads", "flash_attention")
        facts: dict[str, Any] = {name: getattr(self, name) for name in (*plain, *others)}
        facts |= {"file_bytes": self.file_bytes, "memory_bytes": self.memory_bytes, "devices": devices}
        facts["speeds"] = _speeds_mapping(self.speeds)
        return facts


def fit(
    model: ModelShape | HeaderLike,
    machine: Machine,
    *,
    context_tokens: int | None = None,
    settings: LoadSettings | None = None,
) -> Plan:
    """Plan a model on a machine: arithmetic only, nothing is read or loaded.

    Args:
        model: a GGUF header, or `manifest_shape(manifest, quantization)` where there is no file yet.
        machine: `hardware.this_machine()`, or numbers of another one.
        context_tokens: tokens of each sequence; the settings' value, or 4,096, or the model's own limit.
        settings: what is set there is kept (`gpu_layers`, `kv_type`, `parallel`, …); the rest is decided.

    Returns:
        The placement with the most layers on GPUs that fits; if none does, the one to compare with
        (`verdict` "no").

    Example: Phi-4 as Q4_K_M with 16,384 tokens takes 12.7 GB: "cpu" on a laptop with 16 GB of free memory.
    """
    shape = model if isinstance(model, ModelShape) else model_shape(model)
    wishes = settings or LoadSettings()
    wanted = context_tokens or wishes.context_tokens or DEFAULT_CONTEXT_TOKENS
    wishes = replace(wishes, context_tokens=min(wanted, shape.context_tokens or wanted))
    weights = LayerBytes.of(shape)
    gpu_layers, devices = _best(shape, weights, machine, wishes)
    return Plan(
        verdict=_verdict(devices, gpu_layers, shape.layers + 1),
        context_tokens=wishes.context_tokens or 0,
        kv_type=wishes.kv_type or "f16",
        gpu_layers=gpu_layers,
        layers=shape.layers + 1,
        devices=devices,
        largest_context_tokens=_largest_context(shape, weights, machine, wishes),
        speeds=predict(shape, machine, devices),
        file_bytes=shape.file_bytes,
        threads=wishes.threads or machine.cores,
        flash_attention=_fused(wishes),
    )


def contexts(model: ModelShape, settings: LoadSettings) -> tuple[Cells, ...]:
    """Return the contexts that the engine opens for settings whose context is set.

    A model with LongRoPE gets a second one for long sequences (`engine.model.LoadedModel.new_context`).
    """
    parallel, unified = settings.parallel or 1, settings.unified_kv is not False
    wanted = settings.context_tokens or 0
    pool = max(wanted, min(settings.cache_tokens or wanted * parallel, wanted * parallel))
    cells = Cells(
        context_tokens=pool if unified else wanted,
        streams=1 if unified else parallel,
        sequences=parallel + KEPT_SEQUENCES if unified else parallel,
        batch_tokens=BATCH_TOKENS,
        kv_type=settings.kv_type or "f16",
        flash_attention=_fused(settings),
    )
    short = model.short_context_tokens
    if short is None or short >= wanted:
        return (cells,)
    one = unified and parallel == 1
    first = replace(
        cells, context_tokens=short, streams=1 if one else parallel, sequences=9 if one else parallel
    )
    return (first, cells)


def _fused(settings: LoadSettings) -> bool:
    """Return whether the fused kernel is used: unless it is off, or the cache shall be exact."""
    if settings.flash_attention is None:
        return settings.kv_type != "f32"
    return settings.flash_attention


def _best(
    model: ModelShape, weights: LayerBytes, machine: Machine, settings: LoadSettings
) -> tuple[int, tuple[DeviceMemory, ...]]:
    opened = contexts(model, settings)
    most = model.layers + 1 if machine.gpus else 0
    if settings.gpu_layers is not None:
        chosen = min(settings.gpu_layers, most)
        return chosen, place(model, weights, opened, machine, chosen)
    for gpu_layers in range(most, -1, -1):
        devices = place(model, weights, opened, machine, gpu_layers)
        if _fit_together(machine, devices):
            return gpu_layers, devices
    return 0, place(model, weights, opened, machine, 0)


def _fit_together(machine: Machine, devices: tuple[DeviceMemory, ...]) -> bool:
    shared = sum(
        held.needed_bytes for gpu, held in zip(machine.gpus, devices[1:], strict=True) if gpu.shares_memory
    )
    if devices[0].needed_bytes + shared > devices[0].available_bytes:
        return False
    return all(device.fits for device in devices if device.needed_bytes)


def _verdict(devices: tuple[DeviceMemory, ...], gpu_layers: int, layers: int) -> str:
    if not all(device.fits for device in devices if device.needed_bytes):
        return "no"
    if gpu_layers >= layers:
        return "gpu"
    return "partly" if gpu_layers else "cpu"


def _largest_context(model: ModelShape, weights: LayerBytes, machine: Machine, settings: LoadSettings) -> int:
    """Search the largest multiple of 256 that fits, by halving."""
    limit = model.context_tokens or 2**20
    low, high = 0, -(-limit // CELL_UNIT)
    while low < high:
        middle = (low + high + 1) // 2
        tried = replace(settings, context_tokens=min(middle * CELL_UNIT, limit), cache_tokens=None)
        if _fit_together(machine, _best(model, weights, machine, tried)[1]):
            low = middle
        else:
            high = middle - 1
    return min(low * CELL_UNIT, limit)


def _speeds_mapping(speeds: Speeds | None) -> dict[str, Any] | None:
    if speeds is None:
        return None
    ranges = {"generation": speeds.generation, "prompt": speeds.prompt}
    facts: dict[str, Any] = {
        name: {"low": round(r.low, 2), "expected": round(r.expected, 2), "high": round(r.high, 2)}
        for name, r in ranges.items()
    }
    return facts | {"roofline": round(speeds.roofline, 2)}
