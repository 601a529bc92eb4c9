"""The parameters that a model brings along, by Ollama's names, and what they are called here.

Source: `Options` and `Runner` in api/types.go of ollama fb307609, and docs/modelfile.mdx for those that were
dropped since but stand in published models.
"""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from phi4local.settings import SamplingSettings

SAMPLING = {
    **{name: name for name in ("temperature", "top_k", "top_p", "min_p", "typical_p", "seed", "stop")},
    **{name: name for name in ("repeat_penalty", "presence_penalty", "frequency_penalty")},
    **{name: name for name in ("mirostat", "mirostat_tau", "mirostat_eta")},
    "repeat_last_n": "penalty_last_tokens",
}
"""Ollama's name → field of `SamplingSettings`."""

LOADING = {
    "num_ctx": "context_tokens",
    "num_gpu": "gpu_layers",
    "num_thread": "threads",
    "main_gpu": "main_gpu",
}
"""Ollama's name → field of `LoadSettings`."""

MOST_TOKENS = "num_predict"
"""Longest answer, in tokens; below 0 for no limit."""

FOR_OLLAMA = (
    "num_keep",
    "num_batch",
    "use_mmap",
    "use_mlock",
    "numa",
    "low_vram",
    "penalize_newline",
    "tfs_z",
)
"""Kept for Ollama; nothing here is decided by them."""

LISTS = ("stop", "dry_sequence_breakers")
_WHOLE = ("top_k", "seed", "mirostat", "repeat_last_n", *LOADING, MOST_TOKENS, "num_keep", "num_batch")
_SWITCHES = ("use_mmap", "use_mlock", "numa", "low_vram", "penalize_newline")
_OURS = tuple(field.name for field in fields(SamplingSettings) if field.name != "logit_bias")


def read(name: str, text: str) -> Any:  # noqa: ANN401 - as JSON has it
    """Return the value of one parameter.

    Examples: ("temperature", "0.5") → 0.5; ("num_ctx", "8192") → 8192; ("stop", "###") → "###".

    Raises:
        ValueError: no such parameter, or a value that it cannot have; the message says which.
    """
    known = dict.fromkeys((*SAMPLING, *LOADING, MOST_TOKENS, *FOR_OLLAMA, *_OURS))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or ["temperature", "num_ctx", "stop"]
        raise ValueError(f"parameter `{name[:40]}` does not exist; near: {', '.join(near)}")
    if name in LISTS:
        if not text:
            raise ValueError(f"parameter `{name}` has no value")
        return text
    try:
        if name in _SWITCHES:
            return {"true": True, "false": False}[text.lower()]
        return int(text) if name in _WHOLE else float(text)
    except (ValueError, KeyError):
        raise ValueError(f"parameter `{name}` cannot be `{text[:40]}`") from None


def for_sampling(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `SamplingSettings` that a model's parameters set; not those of Ollama's own.

    What means "as you like" there (-1) is unset here.

    Example: `{"repeat_last_n": 64, "num_ctx": 8192, "seed": -1}` → `{"penalty_last_tokens": 64}`.
    """
    found = {}
    for name, value in chosen.items():
        field = SAMPLING.get(name, name if name in _OURS else None)
        if field and not _is_open(name, value):
            found[field] = tuple(value) if isinstance(value, list) else value
    return found


def for_loading(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of `LoadSettings` that a model's parameters set.

    Example: `{"num_ctx": 8192, "num_gpu": -1, "stop": ["a"]}` → `{"context_tokens": 8192}`.
    """
    return {
        LOADING[name]: value
        for name, value in chosen.items()
        if name in LOADING and not _is_open(name, value)
    }


def most_tokens(chosen: dict[str, Any]) -> int | None:
    """Return the longest answer in tokens, or `None`. Example: `{"num_predict": -1}` → `None`."""
    value = chosen.get(MOST_TOKENS)
    return value if type(value) is int and value > 0 else None


def _is_open(name: str, value: object) -> bool:
    """Return whether a value means "as you like": -1 for counts and the seed, 0 threads."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return (name in _WHOLE and value < 0) or (name == "num_thread" and value == 0)
