"""Decide whether a file is a LoRA adapter for a given model that llama.cpp can load."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import shown
from phi4local.gguf.fields import refused, require_type, text
from phi4local.gguf.header import Header, read_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.gguf.tensor_table import TensorInfo

_PLAIN_TYPES = ("F32", "F16", "BF16")
_EMBEDDING = "token_embd.weight"


def validate_adapter(path: Path, base: Header, *, read: Callable[[Path], Header] = read_header) -> Header:
    """Read the header of `path` and check that it is a LoRA adapter for the model of `base`.

    Every adapted tensor has a pair `NAME.lora_a` (width x rank) and `NAME.lora_b` (rank x rows) that fit the
    tensor of the base. `read` reads the header, as in `validate`.

    Example: for a linear layer of 256 x 768 and rank 8: `lora_a` has the shape (256, 8), `lora_b` (8, 768).

    Raises:
        GGUFError: no adapter, one for another model, or a part that llama.cpp would abort on or ignore.

    Source: `llama_adapter_lora_init_impl` in src/llama-adapter.cpp of llama.cpp 0c1e57098.
    """
    header = read(path)
    if header.get("general.type") != "adapter":
        raise GGUFError(path, "is no adapter", hint="give a LoRA adapter: a GGUF file or a folder of PEFT")
    if text(header, "adapter.type") != "lora":
        raise refused(header, "adapter.type", "lora")
    if header.architecture != base.architecture:
        raise refused(header, "general.architecture", str(base.architecture))
    _check_scale(header)
    if "adapter.alora.invocation_tokens" in header.metadata:
        raise GGUFError(path, "is an activated adapter (aLoRA), which is not supported")
    pairs = _pairs(header)
    if not pairs:
        raise GGUFError(path, "has no `.lora_a` and `.lora_b` tensors")
    tensors = {tensor.name: tensor for tensor in base.tensors}
    for name, (first, second) in pairs.items():
        if name not in tensors:
            raise _misfit(path, name, "is not in the model", base)
        _check_pair(header, tensors[name], first, second, base)
    return header


def _check_scale(header: Header) -> None:
    """Let the scale be 0, which llama.cpp takes for none: it is in the matrices then."""
    alpha = require_type(header, "adapter.lora.alpha", "f32")
    if not isinstance(alpha, float) or not 0 <= alpha < math.inf:
        raise refused(header, "adapter.lora.alpha", "a finite number, 0 or above")


def _pairs(header: Header) -> dict[str, tuple[TensorInfo, TensorInfo]]:
    halves: dict[str, dict[str, TensorInfo]] = {}
    for tensor in header.tensors:
        name, _, half = tensor.name.rpartition(".")
        if half not in ("lora_a", "lora_b"):  # llama.cpp would leave out norms without a word
            raise GGUFError(
                header.path, f"tensor `{shown(tensor.name)}` is no part of a LoRA", hint="merge the adapter"
            )
        if tensor.type.name not in _PLAIN_TYPES or len(tensor.shape) != 2:
            raise GGUFError(
                header.path,
                f"tensor `{shown(tensor.name)}` is no matrix of type {', '.join(_PLAIN_TYPES)}",
            )
        halves.setdefault(name, {})[half] = tensor
    for name, pair in halves.items():
        if len(pair) < 2:
            raise GGUFError(header.path, f"`{shown(name)}` has only `{next(iter(pair))}` of its pair")
    return {name: (pair["lora_a"], pair["lora_b"]) for name, pair in halves.items()}


def _check_pair(
    header: Header, target: TensorInfo, first: TensorInfo, second: TensorInfo, base: Header
) -> None:
    if len(target.shape) != 2:
        raise _misfit(header.path, target.name, "is no matrix", base)
    width, rows = target.shape
    if target.name == _EMBEDDING:  # looked up, not multiplied: both halves lie the other way round
        fits = first.shape[1] == rows and second.shape[1] == width and first.shape[0] == second.shape[0]
    else:
        fits = first.shape[0] == width and second.shape[1] == rows and first.shape[1] == second.shape[0]
    if not fits:
        shapes = " and ".join(f"{tensor.shape[0]:,} x {tensor.shape[1]:,}" for tensor in (first, second))
        raise _misfit(header.path, target.name, f"({width:,} x {rows:,}) does not fit {shapes}", base)


def _misfit(path: Path, name: str, problem: str, base: Header) -> GGUFError:
    return GGUFError(
        path, f"`{shown(name)}` {problem}", hint=f"is this adapter for another model than {base.path.name}?"
    )
