"""Which device holds which bytes, for a number of layers on GPUs.

Source: src/llama-model.cpp (load_tensors, get_layer_buft_list) of llama.cpp 0c1e57098: the last layers go to
GPUs, the output counts as one more layer, the embedding stays in main memory, and several GPUs share layers
in proportion to their free memory.
"""

from __future__ import annotations

import bisect
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.offload import LEAST_GPU_BYTES
from phi4local.planning.buffers import compute_bytes, kv_bytes, output_bytes
from phi4local.planning.gpu_buffers import (
    CUDA_CONTEXT_BYTES,
    gpu_compute_bytes,
    host_compute_bytes,
    offloading_compute_bytes,
)

if TYPE_CHECKING:
    from phi4local.hardware import Machine
    from phi4local.planning.buffers import Cells
    from phi4local.planning.shape import ModelShape

PROCESS_BYTES = 150 * 2**20
"""Of Python, the library and the vocabulary: 90 MB with 100,352 tokens, 120 MB with 200,064."""
CPU = "CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMemory:
    """What one device has to hold. All sizes in bytes.

    Attributes:
        name: `CPU`, or ggml's name of a GPU.
        layers: transformer blocks there; the output is one more, on the last GPU.
        available_bytes: what can be used of its memory.
    """

    name: str
    layers: int
    weight_bytes: int
    kv_bytes: int
    compute_bytes: int
    output_bytes: int
    process_bytes: int
    available_bytes: int

    @property
    def needed_bytes(self) -> int:
        """The sum."""
        buffers = self.kv_bytes + self.compute_bytes + self.output_bytes
        return self.weight_bytes + buffers + self.process_bytes

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.needed_bytes <= self.available_bytes


@dataclass(frozen=True, slots=True)
class LayerBytes:
    """Bytes of weights: of the embedding, of each block, and of what comes after them."""

    embedding: int
    blocks: tuple[int, ...]
    output: int

    @classmethod
    def of(cls, model: ModelShape) -> LayerBytes:
        """Sum up the weights of a model."""
        blocks = [0] * model.layers
        embedding = output = 0
        for weight in model.weights:
            if weight.layer is not None and weight.layer < model.layers:
                blocks[weight.layer] += weight.size_bytes
            elif weight.name == "token_embd.weight":
                embedding = weight.size_bytes
            else:
                output += weight.size_bytes
        return cls(embedding, tuple(blocks), output)


def rearranged_bytes(model: ModelShape, machine: Machine) -> int:
    """Return the weights that a CPU keeps twice: in the file's pages, and rearranged for its kernels.

    The pages are resident, but the system takes them back when it needs them; plans count weights once.

    Example: of Phi-4 as Q4_K_M on a processor with AVX2 the Q4_K matrices but the embedding.

    Source: ggml_repack_get_optimal_repack_type in ggml/src/ggml-cpu/repack.cpp of llama.cpp 0c1e57098.
    """
    types = {
        kind for name, kinds in _REARRANGED.items() if name in machine.instruction_sets for kind in kinds
    }
    return sum(
        weight.size_bytes
        for weight in model.weights
        if weight.type_name in types and weight.rows % 8 == 0 and weight.name != "token_embd.weight"
    )


_REARRANGED = {
    "AVX2": ("Q4_0", "Q4_K", "IQ4_NL", "MXFP4"),
    "AVX512": ("Q2_K",),
    "DOTPROD": ("Q4_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4", "Q8_0"),
}


def place(
    model: ModelShape, weights: LayerBytes, contexts: tuple[Cells, ...], machine: Machine, gpu_layers: int
) -> tuple[DeviceMemory, ...]:
    """Return what each device holds with `gpu_layers` layers on GPUs, main memory first.

    Args:
        model: the model.
        weights: `LayerBytes.of(model)`.
        contexts: the contexts that can be open at a time; LongRoPE models may have two.
        machine: its GPUs share the layers.
        gpu_layers: 0 to layers + 1.

    Example: Phi-4 with 41 layers on an 80 GB GPU: embedding and small buffers on the CPU, the rest there.
    """
    gpu_layers = gpu_layers if machine.gpus else 0
    counts = _shares(machine, gpu_layers)
    first = max(0, model.layers + 1 - gpu_layers)
    held = [_cpu(model, weights, contexts, machine, gpu_layers)]
    for number, (gpu, count) in enumerate(zip(machine.gpus, counts, strict=True)):
        blocks = [i for i in range(first, first + count) if i < model.layers]
        has_output = count > 0 and first + count > model.layers
        output = weights.output + (weights.embedding if model.tied_embeddings else 0)
        compute = 0
        if number == 0 and gpu_layers <= model.layers and (gpu_layers or gpu.free_bytes >= LEAST_GPU_BYTES):
            compute = sum(offloading_compute_bytes(model, cells) for cells in contexts)
        elif count:
            compute = sum(gpu_compute_bytes(model, cells) for cells in contexts)
        held.append(
            DeviceMemory(
                name=gpu.name,
                layers=len(blocks),
                weight_bytes=sum(weights.blocks[i] for i in blocks) + (output if has_output else 0),
                kv_bytes=sum(kv_bytes(model, cells, layers=len(blocks)) for cells in contexts),
                compute_bytes=compute,
                output_bytes=0,
                process_bytes=CUDA_CONTEXT_BYTES if compute and gpu.back_end == "CUDA" else 0,
                available_bytes=gpu.free_bytes,
            )
        )
        first += count
    return tuple(held)


def _shares(machine: Machine, gpu_layers: int) -> list[int]:
    """Return how many layers each GPU gets. Example: 41 layers on two equal GPUs → [21, 20]."""
    if not machine.gpus:
        return []
    sums = list(itertools.accumulate(gpu.free_bytes for gpu in machine.gpus))
    ends = [end / (sums[-1] or 1) for end in sums]
    counts = [0] * len(ends)
    for layer in range(gpu_layers):
        counts[min(bisect.bisect_right(ends, layer / gpu_layers), len(ends) - 1)] += 1
    return counts


def _cpu(
    model: ModelShape, weights: LayerBytes, contexts: tuple[Cells, ...], machine: Machine, gpu_layers: int
) -> DeviceMemory:
    blocks = max(0, model.layers - max(0, gpu_layers - 1))
    compute = [compute_bytes(model, cells) for cells in contexts]
    if machine.gpus:
        compute = [host_compute_bytes(model, cells, some_on_cpu=blocks > 0) for cells in contexts]
    return DeviceMemory(
        name=CPU,
        layers=blocks,
        weight_bytes=weights.embedding + sum(weights.blocks[:blocks]) + (0 if gpu_layers else weights.output),
        kv_bytes=sum(kv_bytes(model, cells, layers=blocks) for cells in contexts),
        compute_bytes=sum(compute),
        output_bytes=sum(output_bytes(model, cells) for cells in contexts),
        process_bytes=PROCESS_BYTES,
        available_bytes=machine.available_bytes,
    )
