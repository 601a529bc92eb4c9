"""The byte-level BPE of a tokenizer.json, Phi-4's and Phi-4-mini's kind: tokens, their kinds, merges.

Source: `get_vocab_base` in conversion/base.py and `SpecialVocab` in gguf-py/gguf/vocab.py of llama.cpp
0c1e57098, read there and written here without `transformers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.convert.strict_json import shown
from phi4local.convert.tokens import (
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    AddedToken,
    check_ids,
    pairs,
    place,
    without_holes,
)
from phi4local.errors import CheckpointError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_LOOKS_SPECIAL = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))  # noqa: RUF001 - the wide bars are DeepSeek's


def byte_level_model(tokenizer: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the `model` part after checking that llama.cpp tokenizes the same way.

    Raises:
        CheckpointError: no vocabulary or no merges.
        UnsupportedCheckpointError: a kind of tokenizer that llama.cpp runs differently, or not at all.
    """
    model = tokenizer.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise CheckpointError(path, "has no vocabulary")
    if not isinstance(model.get("merges"), list) or not model["merges"]:
        raise CheckpointError(path, "has no merges")
    differences = {
        f"its model is {shown(model.get('type'))}, not BPE": model.get("type", "BPE") != "BPE",
        "it falls back to single bytes, as SentencePiece does": bool(model.get("byte_fallback")),
        "it marks the ends of words": bool(
            model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        ),
        "it takes whole pieces before merging": bool(model.get("ignore_merges")),
        "it changes text before tokenizing": not _is_empty_step(tokenizer.get("normalizer"), "normalizers"),
        "it adds tokens around the text": not _adds_nothing(tokenizer.get("post_processor")),
    }
    for problem, found in differences.items():
        if found:
            raise UnsupportedCheckpointError(
                f"`{path}`: {problem}", hint="llama.cpp would not tokenize as this model was trained"
            )
    return model


def _is_empty_step(step: object, parts: str) -> bool:
    return step is None or (
        isinstance(step, dict) and step.get("type") == "Sequence" and step.get(parts) == []
    )


def _adds_nothing(step: object) -> bool:
    if step is None or (isinstance(step, dict) and step.get("type") == "ByteLevel"):
        return True
    if isinstance(step, dict) and step.get("type") == "TemplateProcessing":
        single = step.get("single")
        return isinstance(single, list) and len(single) == 1 and "Sequence" in single[0]
    parts = step.get("processors") if isinstance(step, dict) and step.get("type") == "Sequence" else None
    return isinstance(parts, list) and all(_adds_nothing(part) for part in parts)


def tokens_and_types(
    vocabulary: dict[str, Any], added: Mapping[str, AddedToken], count: int, path: Path
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return texts and kinds of `count` tokens in order of id.

    An added token controls the model if it is special or looks so; an id without a token is UNUSED.

    Example: Phi-4-mini has 200,064 ids, of which `[PAD200000]` and some others stand for no token.

    Raises:
        CheckpointError: ids or texts that occur twice, or are impossible.
    """
    tokens: list[str | None] = [None] * count
    for text, token in (*vocabulary.items(), *((text, token.id) for text, token in added.items())):
        place(tokens, text, token, path)
        if vocabulary.get(text, token) != token:
            raise CheckpointError(path, f"token `{shown(text)}` has two ids")
    types = [UNUSED if text is None else NORMAL for text in tokens]
    for text, token in added.items():
        types[token.id] = CONTROL if token.special or _looks_special(text) else USER_DEFINED
    complete = without_holes(tokens, path)
    check_ids(added, vocabulary, path)
    return complete, tuple(types)


def _looks_special(text: str) -> bool:
    """Return whether a token controls the model although it is not marked so. Example: `<|tool_call|>`."""
    return text in _LOOKS_SPECIAL or any(
        text.startswith(left) and text.endswith(right) for left, right in _BRACKETS
    )


def merge_lines(model: dict[str, Any], path: Path) -> Iterator[str]:
    """Yield each merge as `left right`; a space inside a part is written as U+0120, as llama.cpp does.

    Raises:
        CheckpointError: a merge that is no pair of tokens, or makes none.
    """
    for left, right in pairs(model, path):
        yield f"{left.replace(' ', 'Ġ')} {right.replace(' ', 'Ġ')}"
