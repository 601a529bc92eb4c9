"""Which type each tensor gets: llama-quantize's rules for Phi-4's tensors, as arithmetic.

A quantization such as Q4_K_M is a mix: most tensors get its base type, a few sensitive ones get more bits.
Source: src/llama-quant.cpp of llama.cpp 0c1e57098 (llama-cpp-python 0.3.36): `llama_tensor_get_type`,
`llama_tensor_get_type_impl`, `tensor_type_fallback`. Files that were published before 2026 follow older
rules, in which Q4_K_M stored every attn_qkv as Q5_K.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from phi4local.native.ggml import TENSOR_TYPES

_BASE_TYPE = {
    "Q4_0": "Q4_0",
    "Q4_K_S": "Q4_K",
    "Q4_K_M": "Q4_K",
    "Q5_K_M": "Q5_K",
    "Q6_K": "Q6_K",
    "Q8_0": "Q8_0",
    "BF16": "BF16",
    "F16": "F16",
    "F32": "F32",
}

QUANTIZATIONS = tuple(_BASE_TYPE)
"""What the converter makes, smallest file first."""

_FALLBACK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
_UNQUANTIZED = ("F32", "F16", "BF16")
_BLOCK_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A quantization applied to one model.

    Attributes:
        quantization: one of `QUANTIZATIONS`.
        layers: transformer blocks of the model.
        tied_embeddings: the embedding is the output matrix too, so it is treated as one.
    """

    quantization: str
    layers: int
    tied_embeddings: bool = False


def tensor_type(name: str, shape: tuple[int, ...], mix: Mix) -> str:
    """Return the type of the GGUF tensor `name`.

    Args:
        name: GGUF name, such as `blk.7.ffn_down.weight`.
        shape: (rows, elements of a row), or (elements,) of a norm.
        mix: quantization and model.

    Example: Q4_K_M of Phi-4's 40 layers has 121 Q4_K and 41 Q6_K tensors: `output.weight`, and
    `attn_qkv` and `ffn_down` in 20 layers each. `blk.7.attn_qkv.weight` of (7680, 5120) → `"Q6_K"`,
    `blk.8.attn_qkv.weight` → `"Q4_K"`. A row of 576 elements is no whole number of 256-element blocks:
    Q4_K falls back to Q5_0, Q5_K to Q5_1, Q6_K to Q8_0; a row of 40 elements falls back to F16.

    Raises:
        KeyError: a quantization that is not in `QUANTIZATIONS`.
    """
    base = _BASE_TYPE[mix.quantization]
    if len(shape) < 2 or name.endswith("_norm.weight"):
        return "F32"
    if base in _UNQUANTIZED:
        return base
    row_elements = shape[-1]
    if name == "output.weight" or (name == "token_embd.weight" and mix.tied_embeddings):
        wanted = _output_type(base, row_elements)
    else:
        wanted = _block_type(name, base, mix)
    return _fitting(wanted, row_elements)


def use_more_bits(layer: int, layers: int) -> bool:
    """Return whether the M mixes store this layer's sensitive tensors with more bits.

    The first and the last eighth of the layers, and every third one between.

    Example: of 40 layers, the 20 layers 0-4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34 and 35-39.
    """
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def _output_type(base: str, row_elements: int) -> str:
    if base == "Q8_0" or row_elements % TENSOR_TYPES[base].block_elements:
        return "Q8_0"
    return "Q6_K"


def _block_type(name: str, base: str, mix: Mix) -> str:
    found = _BLOCK_TENSOR.fullmatch(name)
    if found is None or found[2] not in ("attn_qkv", "ffn_down"):
        return base
    layer = int(found[1])
    if mix.quantization in ("Q4_K_M", "Q5_K_M") and use_more_bits(layer, mix.layers):
        return "Q6_K"
    if mix.quantization == "Q4_K_S" and layer < (4 if found[2] == "attn_qkv" else mix.layers // 8):
        return "Q5_K"
    return base


def _fitting(wanted: str, row_elements: int) -> str:
    if row_elements % TENSOR_TYPES[wanted].block_elements == 0:
        return wanted
    smaller = _FALLBACK.get(wanted, wanted)
    return smaller if row_elements % TENSOR_TYPES[smaller].block_elements == 0 else "F16"
