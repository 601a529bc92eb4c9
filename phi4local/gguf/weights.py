"""The tensors of a Phi-4 model: which ones, how large, of which type.

llama.cpp checks names and shapes itself, but it runs into aborts and address zero with types that its
products do not have (src/models/phi3.cpp and ggml/src/ggml-cpu of llama-cpp-python 0.3.36).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from phi4local.gguf.header import Header
    from phi4local.gguf.hyperparameters import Hyperparameters
    from phi4local.gguf.tensor_table import TensorInfo

Shape = tuple[int, ...]

LIBRARY_ALIGNMENT = 32
"""llama.cpp maps the file into memory and aborts unless the first tensor lies at a multiple of this."""

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"
_FACTOR_BYTES = 4
_USED_IN_PLACE = (_EMBEDDING, "blk.0.attn_norm.weight", "blk.0.ffn_norm.weight")
"""Never moved to a GPU, nor packed anew for the processor, while layers with factors are computed there."""
_ROPE_FACTORS = ("rope_factors_long.weight", "rope_factors_short.weight")


def check_weights(header: Header, model: Hyperparameters, tokens: int) -> None:
    """Check that exactly the tensors of this network are there, each with its shape and a usable type.

    Example: Phi-4's 40 blocks of 6 tensors, `token_embd`, `output_norm` and `output` are 243 tensors.

    Raises:
        GGUFError: a tensor is missing, unknown, or has another shape or a type that cannot be computed with.
    """
    if header.alignment < LIBRARY_ALIGNMENT:
        raise GGUFError(
            header.path,
            f"`general.alignment` is {header.alignment}; llama.cpp needs at least {LIBRARY_ALIGNMENT}",
        )
    found = {tensor.name: tensor for tensor in header.tensors}
    expected = expected_tensors(model, tokens, found)
    for name in expected:
        if name not in found:
            raise GGUFError(header.path, f"tensor `{name}` is missing")
    for tensor in header.tensors:
        if tensor.name not in expected:
            raise GGUFError(header.path, f"tensor `{shown(tensor.name)}` {_why_unknown(tensor.name, model)}")
        _check_shape(header, tensor, expected[tensor.name])
        _check_type(header, tensor)
    for part in (header.parts or (header,)) if model.rope_dimensions < model.head_width else ():
        _check_room_behind_rope_factors(part, model)


def _check_room_behind_rope_factors(part: Header, model: Hyperparameters) -> None:
    """Let no factor be read where no memory is.

    Where only a part of a head is turned, ggml reads a factor for each pair of the whole head and does not
    use the last ones (`ggml_rope_cache_init` in ggml-cpu/ops.cpp). llama.cpp unmaps the file behind the last
    tensor that it uses in place, so that this is a SIGSEGV unless such a tensor follows.
    """
    read_bytes = model.head_width // 2 * _FACTOR_BYTES
    mapped = max(
        (one.offset + one.size_bytes for one in part.tensors if one.name in _USED_IN_PLACE), default=0
    )
    for tensor in part.tensors:
        if tensor.name in _ROPE_FACTORS and tensor.offset + max(read_bytes, tensor.size_bytes) > mapped:
            raise GGUFError(
                part.path,
                f"`{tensor.name}` has no tensor behind it that stays in memory; llama.cpp reads {read_bytes} "
                f"bytes from where it begins",
                hint="convert the model again: its rope factors come before the embedding then",
            )


def expected_tensors(model: Hyperparameters, tokens: int, found: Mapping[str, object]) -> dict[str, Shape]:
    """Return the shapes of the tensors that this network needs, the row length first.

    A block may hold one fused tensor for queries, keys and values or three; the output matrix may be missing
    (the embedding is used twice then); rope factors come in pairs. `found` says which of these there are.

    Example: for Phi-4, `expected_tensors(...)["blk.0.attn_qkv.weight"] == (5120, 7680)`.
    """
    shapes: dict[str, Shape] = {_EMBEDDING: (model.width, tokens), "output_norm.weight": (model.width,)}
    if _OUTPUT in found:
        shapes[_OUTPUT] = (model.width, tokens)
    if any(name in found for name in _ROPE_FACTORS):
        shapes |= dict.fromkeys(_ROPE_FACTORS, (model.rope_dimensions // 2,))
    for block in range(model.blocks):
        prefix = f"blk.{block}."
        fused = f"{prefix}attn_qkv.weight" in found or f"{prefix}attn_q.weight" not in found
        shapes |= {
            prefix + name + ".weight": shape for name, shape in _block_shapes(model, fused=fused).items()
        }
    return shapes


def _block_shapes(model: Hyperparameters, *, fused: bool) -> dict[str, Shape]:
    width, key_value_width = model.width, model.key_value_width
    if fused:
        attention: dict[str, Shape] = {"attn_qkv": (width, width + 2 * key_value_width)}
    else:
        attention = {
            "attn_q": (width, width),
            "attn_k": (width, key_value_width),
            "attn_v": (width, key_value_width),
        }
    return {
        "attn_norm": (width,),
        **attention,
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_up": (width, 2 * model.feed_forward),
        "ffn_down": (model.feed_forward, width),
    }


def _why_unknown(name: str, model: Hyperparameters) -> str:
    block = re.match(r"blk\.(\d+)\.", name)
    if block and int(block[1]) >= model.blocks:
        return f"belongs to a block that `phi3.block_count` {model.blocks} does not count"
    return "is not a tensor of Phi-4"


def _check_shape(header: Header, tensor: TensorInfo, expected: Shape) -> None:
    if tensor.shape != expected:
        found, wanted = (" x ".join(f"{axis:,}" for axis in shape) for shape in (tensor.shape, expected))
        because = " (embedding length x tokens)" if tensor.name in (_EMBEDDING, _OUTPUT) else ""
        raise GGUFError(
            header.path, f"tensor `{tensor.name}` has the shape {found}; expected {wanted}{because}"
        )


def _check_type(header: Header, tensor: TensorInfo) -> None:
    vector = len(tensor.shape) == 1
    if vector and tensor.type.name != "F32":
        raise GGUFError(header.path, f"tensor `{tensor.name}` has the type {tensor.type.name}; expected F32")
    if not tensor.type.multiplies:
        raise GGUFError(
            header.path,
            f"tensor `{tensor.name}` has the type {tensor.type.name}, which llama.cpp cannot multiply",
        )
