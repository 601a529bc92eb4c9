"""Recognise how a tokenizer.json cuts text into pieces, by the expression itself.

llama.cpp's own converter recognises it by a hash over the token ids of a test text, which fails for every
vocabulary it has not seen. The expression says the same for all of them.

Source: `llm_tokenizer_bpe` in src/llama-vocab.cpp of llama.cpp 0c1e57098, whose comments quote the
expressions, and `get_vocab_base_pre` in conversion/base.py for the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.convert.strict_json import shown
from phi4local.errors import CheckpointError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from pathlib import Path

CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Phi-4 and its reasoning models."""

O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Phi-4-mini."""

_NAME_OF_EXPRESSION = {CL100K: "dbrx", O200K: "gpt-4o"}


def recognise(pre_tokenizer: object, path: Path) -> str:
    """Return llama.cpp's name of a tokenizer.json's `pre_tokenizer`.

    Example: a `Split` with the cl100k expression and a `ByteLevel` → `"dbrx"`; with the o200k expression →
    `"gpt-4o"`; single digits and a `ByteLevel` with its own expression, as SmolLM has them → `"smollm"`.

    Args:
        pre_tokenizer: the value of that key.
        path: the tokenizer.json, for messages.

    Raises:
        UnsupportedCheckpointError: anything else; the message shows it.
        CheckpointError: it is no pre-tokenizer at all.
    """
    steps = _steps(pre_tokenizer, path)
    kinds = [step.get("type") for step in steps]
    byte_level = steps[-1] if kinds[-1:] == ["ByteLevel"] else None
    if byte_level is None or byte_level.get("add_prefix_space") is not False:
        raise _unknown(path, pre_tokenizer)
    own_expression = byte_level.get("use_regex", True) is True
    if kinds == ["Split", "ByteLevel"] and not own_expression and _keeps_matches(steps[0]):
        expression = _expression(steps[0])
        if expression in _NAME_OF_EXPRESSION:
            return _NAME_OF_EXPRESSION[expression]
        raise _unknown(path, expression)
    if kinds == ["Digits", "ByteLevel"] and own_expression and steps[0].get("individual_digits") is True:
        return "smollm"
    raise _unknown(path, pre_tokenizer)


def _steps(pre_tokenizer: object, path: Path) -> list[dict[str, Any]]:
    steps: Any = [pre_tokenizer]
    if isinstance(pre_tokenizer, dict) and pre_tokenizer.get("type") == "Sequence":
        steps = pre_tokenizer.get("pretokenizers")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise CheckpointError(path, "has no pre_tokenizer")
    return steps


def _keeps_matches(split: dict[str, Any]) -> bool:
    """Return whether the matches of the expression are the pieces. Both spellings mean that."""
    return (split.get("behavior"), split.get("invert")) in (("Removed", True), ("Isolated", False))


def _expression(split: dict[str, Any]) -> str:
    pattern = split.get("pattern")
    expression = pattern.get("Regex") if isinstance(pattern, dict) else None
    return expression if isinstance(expression, str) else repr(pattern)


def _unknown(path: Path, found: object) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(
        f"`{path}`: its pre-tokenizer is not one of Phi-4's: {shown(found)}",
        hint="llama.cpp would cut text into other pieces than this model was trained on",
    )
