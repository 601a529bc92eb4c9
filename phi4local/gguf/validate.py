"""Decide whether a file is a Phi-4 model that llama.cpp can load without ending the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import shown
from phi4local.gguf.fields import refused, require_type, text
from phi4local.gguf.header import read_header
from phi4local.gguf.hyperparameters import ARCHITECTURE, read_hyperparameters
from phi4local.gguf.split import read_parts
from phi4local.gguf.vocabulary import check_vocabulary
from phi4local.gguf.weights import check_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.gguf.header import Header

QUANTIZATION_VERSION = 2
"""GGML_QNT_VERSION: how the bytes of quantized blocks are laid out today."""

_OTHER_KINDS = {
    "adapter": "is an adapter (LoRA), not a model",
    "mmproj": "is the image or audio part of a model (mmproj), not a language model",
    "imatrix": "holds an importance matrix, not a model",
    "vocab": "holds a vocabulary without weights",
}
_GENERAL_TYPES = {
    "general.name": "str",
    "general.type": "str",
    "general.file_type": "u32",
    "general.quantization_version": "u32",
}


def validate(path: Path, *, read: Callable[[Path], Header] = read_header) -> Header:
    """Read the header of `path` and check that it is a Phi-4 model; return the header.

    Of a model in several files, `path` is the first; all of them are checked (`gguf.split`). `read` reads the
    header of a file that is not on this machine: `read_header_of` with bytes from a server.

    Checks all that llama.cpp would abort on, and what would give wrong answers without an error. The weights
    themselves are not read. A file that is changed after this call is not this function's concern.

    Example: `validate(Path("phi-4-Q4_K_M.gguf")).get("phi3.context_length") == 16384`.

    Raises:
        GGUFError: the message names the key or tensor, what it is, and what was expected.
    """
    header = read_parts(path, read=read)
    _require_model(header)
    model = read_hyperparameters(header)
    tokens = check_vocabulary(header)
    check_weights(header, model, tokens)
    return header


def _require_model(header: Header) -> None:
    for key, expected in _GENERAL_TYPES.items():
        if key in header.metadata:
            require_type(header, key, expected)
    kind = _other_kind(header)
    if kind:
        raise GGUFError(header.path, kind, hint="give the file of the Phi-4 model itself")
    architecture = text(header, "general.architecture")
    if architecture != ARCHITECTURE:
        raise GGUFError(
            header.path,
            f"architecture `{shown(architecture)}` is not Phi-4's (`{ARCHITECTURE}`)",
            hint="this library runs Phi-4 models converted from Phi3ForCausalLM",
        )
    if header.get("general.quantization_version", QUANTIZATION_VERSION) != QUANTIZATION_VERSION:
        raise refused(header, "general.quantization_version", str(QUANTIZATION_VERSION))
    for key in header.metadata:
        # llama.cpp reads a table of tensors from here that Phi-4 does not have.
        if key.startswith("general.tensor_extra"):
            raise GGUFError(header.path, f"`{shown(key)}` is not a key of Phi-4")


def _other_kind(header: Header) -> str | None:
    kind = header.get("general.type", "model")
    if isinstance(kind, str) and kind != "model":
        return _OTHER_KINDS.get(kind, f"`general.type` is `{shown(kind)}`; expected model")
    if "adapter.type" in header.metadata or any(tensor.name.endswith(".lora_a") for tensor in header.tensors):
        return _OTHER_KINDS["adapter"]
    if header.architecture == "clip":
        return _OTHER_KINDS["mmproj"]
    if not header.tensors and "tokenizer.ggml.tokens" in header.metadata:
        return _OTHER_KINDS["vocab"]
    return None
