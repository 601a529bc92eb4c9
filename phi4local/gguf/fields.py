"""Values of a header, with the type and the range that they must have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import shown

if TYPE_CHECKING:
    from phi4local.gguf.header import Header

MAX_WHOLE = 2**31 - 1
"""Largest count that llama.cpp can work with: it keeps many of them in 32 signed bits."""


def refused(header: Header, key: str, expected: str) -> GGUFError:
    """Return the error about the value of `key`.

    Example: "`phi3.block_count` is 0; expected a whole number from 1 to 512". For keys with one value.
    """
    value = header.get(key)
    found = f"`{shown(value)}`" if isinstance(value, str) else "missing" if value is None else str(value)
    return GGUFError(header.path, f"`{shown(key)}` is {found}; expected {expected}")


def require_type(header: Header, key: str, *allowed: str) -> object:
    """Return the value of `key`, which must be there and have one of the `allowed` types.

    The types are exact: llama.cpp refuses a `u64` where it expects a `u32`.

    Example: `require_type(header, "tokenizer.ggml.tokens", "[str]")`.

    Raises:
        GGUFError: the key is missing, or its value has another type.
    """
    found = header.value_types.get(key)
    if found is None:
        raise GGUFError(header.path, f"`{shown(key)}` is missing")
    if found not in allowed:
        wanted = " or ".join(allowed)
        raise GGUFError(header.path, f"`{shown(key)}` has the type {found}; expected {wanted}")
    return header.metadata[key]


def whole(header: Header, key: str, low: int = 0, high: int = MAX_WHOLE, default: int | None = None) -> int:
    """Return the whole number under `key`; without a default it must be there.

    Example: `whole(header, "phi3.block_count", 1, 512) == 40` for Phi-4.

    Raises:
        GGUFError: missing, no u32, or outside of `low` to `high`.
    """
    if default is not None and key not in header.metadata:
        return default
    value = require_type(header, key, "u32")
    if not isinstance(value, int) or not low <= value <= high:
        raise refused(header, key, f"a whole number from {low} to {high}")
    return value


def positive(header: Header, key: str, default: float | None = None, *, below: float = math.inf) -> float:
    """Return the number under `key`: finite, above 0 and less than `below`.

    Example: `positive(header, "phi3.rope.freq_base") == 250000.0` for Phi-4.

    Raises:
        GGUFError: missing, no f32, not finite, or outside of the range.
    """
    if default is not None and key not in header.metadata:
        return default
    value = require_type(header, key, "f32")
    if not isinstance(value, float) or not 0 < value < below:
        wanted = "above 0" if below == math.inf else f"above 0 and below {below:g}"
        raise refused(header, key, f"a finite number {wanted}")
    return value


def text(header: Header, key: str, default: str | None = None) -> str:
    """Return the text under `key`; without a default it must be there.

    Raises:
        GGUFError: missing, or no text.
    """
    if default is not None and key not in header.metadata:
        return default
    return str(require_type(header, key, "str"))


def texts(header: Header, key: str) -> tuple[str, ...]:
    """Return the texts under `key`.

    Raises:
        GGUFError: missing, or no array of texts.
    """
    value = require_type(header, key, "[str]")
    return value if isinstance(value, tuple) else ()
