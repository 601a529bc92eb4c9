"""One key of a GGUF header, and the general.* keys that every model has."""

from __future__ import annotations

import re
from dataclasses import dataclass

Value = int | float | bool | str | tuple[str, ...] | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True, slots=True)
class MetadataEntry:
    """A key, the type that GGUF stores, and the value. Example: `("phi3.block_count", "u32", 40)`.

    Types have the names of `phi4local.gguf`: `u8` to `u64`, `i8` to `i64`, `f32`, `f64`, `bool`, `str`, and
    arrays of one of them, such as `[str]`.
    """

    key: str
    type: str
    value: Value


def general(
    architecture: str, name: str, *, file_type: int, quantization_version: int
) -> tuple[MetadataEntry, ...]:
    """Return the keys that stand first in the header.

    Example: `general("phi3", "phi-4", file_type=15, quantization_version=2)` → `general.architecture` "phi3",
    `general.type` "model", `general.name` "phi-4", `general.quantization_version` 2, `general.file_type` 15.

    Source: gguf-py/gguf/gguf_writer.py and src/llama-quant.cpp of llama.cpp 0c1e57098.
    """
    return (
        MetadataEntry("general.architecture", "str", architecture),
        MetadataEntry("general.type", "str", "model"),
        MetadataEntry("general.name", "str", name),
        MetadataEntry("general.quantization_version", "u32", quantization_version),
        MetadataEntry("general.file_type", "u32", file_type),
    )


def model_name(name: str, *, strips: bool = False) -> str:
    r"""Return `name` as it may stand in `general.name`: printable, not empty, "phi-3" only where it belongs.

    llama.cpp strips white space after every special token when the name contains "phi-3" or "phi3"
    (src/llama-vocab.cpp, after `tokenizer.ggml.token_type` is read), and fails to load a vocabulary without
    Phi-3's tokens then.

    Args:
        name: the folder's name, or what a person chose.
        strips: the tokenizer strips white space after its special tokens, as Phi-3's does.

    Example: `"My Phi-3 tune"` → `"My Phi 3 tune"`; `"line\nbreak"` → `"line break"`; `""` → `"model"`; with
    `strips`, `"My tune"` → `"My tune (Phi-3)"`.
    """
    text = printable(name) if strips else _PHI_3.sub(r"\1 3", printable(name))
    text = " ".join(text.split()) or "model"
    return text if not strips or _PHI_3.search(text) else f"{text} (Phi-3)"


_PHI_3 = re.compile("(phi)-?3", re.IGNORECASE)


def printable(text: str) -> str:
    r"""Return `text` with a space for every character that cannot be printed. Example: `"a\nb"` → `"a b"`."""
    return "".join(mark if mark.isprintable() else " " for mark in text)
