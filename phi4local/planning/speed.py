"""Predicted tokens per second: how long the weights take through memory, and a prompt through the cores.

A generated token reads every weight but the embedding once, so bandwidth limits it. A prompt reads them once
for many tokens, so arithmetic limits it: on a GPU for hundreds, on a CPU for as many as the engine puts into
a step (`engine/pace`). Both predictions are ranges, because caches, clocks and other programs matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.hardware import Gpu, Machine
    from phi4local.planning.layers import DeviceMemory
    from phi4local.planning.shape import ModelShape

GPU_SHARE = {"Q8_0": 0.9, "F16": 0.9, "BF16": 0.9, "F32": 0.9}
OTHER_GPU_SHARE = 0.6
GPU_SECONDS_PER_LAYER = 70e-6
"""Of a GPU's bandwidth, for types that are hardly computed with and for others, and what the kernels of a
layer take to start: 14 billion weights as Q8_0 and Q4_K_M generated 129 and 140 tokens per second on an H100
(benchmarks/results/gpu.json)."""
CPU_SHARE = 0.8
"""Of the measured bandwidth of main memory: 1.3 billion weights as Q4_K_M generated 39 tokens per second on
two cores (benchmarks/results/engine-single.json) that read 34 GB/s."""
FASTEST_CORE = 16e9
"""Bytes of 4-bit to 16-bit weights that one core multiplies a second, at most."""
SLOW_TYPES = ("IQ1", "IQ2", "IQ3")
SLOW_CORE = 4e9
"""The same of the types that look their values up in tables."""
CORE_FLOPS = {"AVX512_VNNI": 150e9, "AVX512": 90e9, "AVX2": 60e9, "MATMUL_INT8": 90e9, "DOTPROD": 60e9}
"""Operations a second of one core in a prompt, for the first of these that it has; the first number is from
four models on two cores (benchmarks/results/planning.json)."""
OTHER_CORE_FLOPS = 15e9
CPU_STEP_SECONDS, CPU_STEP_TOKENS = 0.24, (16, 512)
"""A step of a prompt on a CPU: how long it may take, and how many tokens it has at least and at most."""
CPU_STEP_PASSES = 2.0
"""What such a step takes beside the arithmetic, in readings of all weights: 54 ms where one takes 27."""
GPU_FLOPS_PER_BYTE, GPU_SECONDS_PER_PROMPT_TOKEN = 51.0, 1.2e-6
"""Of a GPU in a prompt: operations for each byte of bandwidth, and what a layer takes beside them, for each
token of a prompt of 512: 4,800 tokens a second of 14 billion weights on an H100, 34,500 of 1.3 billion."""
SPREAD = 0.25


@dataclass(frozen=True, slots=True)
class SpeedRange:
    """Tokens per second. Example: `SpeedRange(4.1, 5.5, 6.9)`."""

    low: float
    expected: float
    high: float

    def to_text(self) -> str:
        """Return the range for a table. Examples: "4.1-6.9", "31-52"."""
        digits = 1 if self.high < 10 else 0
        return f"{self.low:.{digits}f}-{self.high:.{digits}f}"


@dataclass(frozen=True, slots=True)
class Speeds:
    """What to expect, in tokens per second.

    Attributes:
        generation: high with an empty context, low with a full one.
        prompt: of a prompt of some hundred tokens.
        roofline: the most that the bandwidth allows: weights read once for each token, nothing else.
    """

    generation: SpeedRange
    prompt: SpeedRange
    roofline: float


def predict(model: ModelShape, machine: Machine, devices: tuple[DeviceMemory, ...]) -> Speeds | None:
    """Predict speeds for a placement; `None` where the bandwidth of a device that is used is unknown.

    Args:
        model: the model.
        machine: bandwidths and cores.
        devices: from `layers.place`, main memory first.

    Example: Phi-4 as Q4_K_M reads 8.77 GB a token: at most 10 tokens per second from 90 GB/s.
    """
    gpus = [(gpu, held) for gpu, held in zip(machine.gpus, devices[1:], strict=True) if held.weight_bytes]
    bandwidths = [gpu.bandwidth for gpu, _held in gpus]
    cpu_bytes = _read_on_cpu(model, devices[0])
    if None in bandwidths or (cpu_bytes and machine.bandwidth is None):
        return None
    empty, ideal, prompt = 0.0, 0.0, 0.0
    if cpu_bytes:
        empty += _cpu_seconds(model, machine, cpu_bytes)
        ideal += cpu_bytes / (machine.bandwidth or 1.0)
        prompt += _cpu_prompt_seconds(model, machine, devices[0], empty)
    for gpu, held in gpus:
        empty += _gpu_seconds(model, gpu, held)
        ideal += held.weight_bytes / (gpu.bandwidth or 1.0)
        prompt += _flops(model, held) / ((gpu.bandwidth or 1.0) * GPU_FLOPS_PER_BYTE)
        prompt += held.layers * GPU_SECONDS_PER_PROMPT_TOKEN
    full = empty + _kv_seconds(machine, devices)
    expected = min(1 / (empty + 0.1 * (full - empty)), 1 / ideal)
    return Speeds(
        SpeedRange((1 - SPREAD) / full, expected, max(expected, min((1 + SPREAD) / empty, 1 / ideal))),
        SpeedRange(0.5 / prompt, 1 / prompt, 1.5 / prompt),
        1 / ideal,
    )


def _read_on_cpu(model: ModelShape, held: DeviceMemory) -> int:
    """Return the bytes that a token reads from main memory: of the embedding only one row."""
    embedding = next((w.size_bytes for w in model.weights if w.name == "token_embd.weight"), 0)
    everything = held.layers == model.layers and held.weight_bytes >= model.weight_bytes
    return held.weight_bytes if everything and model.tied_embeddings else held.weight_bytes - embedding


def _cpu_seconds(model: ModelShape, machine: Machine, read_bytes: int) -> float:
    slow = sum(w.size_bytes for w in model.weights if w.type_name.startswith(SLOW_TYPES))
    slow_share = slow / (model.weight_bytes or 1)
    core = 1 / (slow_share / SLOW_CORE + (1 - slow_share) / FASTEST_CORE)
    return read_bytes / min((machine.bandwidth or 1.0) * CPU_SHARE, machine.cores * core)


def _cpu_prompt_seconds(model: ModelShape, machine: Machine, held: DeviceMemory, reading: float) -> float:
    """Return what a token of a prompt takes there, with its share of what each step takes."""
    least, most = CPU_STEP_TOKENS
    token = _flops(model, held) / (machine.cores * _core_flops(machine))
    tokens = min(max(least, (CPU_STEP_SECONDS - CPU_STEP_PASSES * reading) / token), most)
    return token + CPU_STEP_PASSES * reading / tokens


def _gpu_seconds(model: ModelShape, gpu: Gpu, held: DeviceMemory) -> float:
    """Return what a token takes there; the model's types count as everywhere in it."""
    slowed = sum(w.size_bytes / GPU_SHARE.get(w.type_name, OTHER_GPU_SHARE) for w in model.weights)
    share = model.weight_bytes / slowed if slowed else OTHER_GPU_SHARE
    return held.weight_bytes / ((gpu.bandwidth or 1.0) * share) + held.layers * GPU_SECONDS_PER_LAYER


def _kv_seconds(machine: Machine, devices: tuple[DeviceMemory, ...]) -> float:
    speeds = [machine.bandwidth, *(gpu.bandwidth for gpu in machine.gpus)]
    return sum(held.kv_bytes / speed for held, speed in zip(devices, speeds, strict=True) if speed)


def _flops(model: ModelShape, held: DeviceMemory) -> float:
    """Return the operations for one token of a prompt: two for each weight of the blocks there."""
    block = sum(w.columns * w.rows for w in model.weights if w.layer is not None) / model.layers
    return max(1.0, 2 * block * held.layers)


def _core_flops(machine: Machine) -> float:
    known = (flops for name, flops in CORE_FLOPS.items() if name in machine.instruction_sets)
    return next(known, OTHER_CORE_FLOPS)
