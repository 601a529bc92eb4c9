"""The SentencePiece BPE of Phi-3: tokens, scores and kinds, from tokenizer.model or its tokenizer.json form.

llama.cpp merges the neighbours whose piece has the highest score; a tokenizer.json merges by rank. Both say
the same where scores fall along the merges, which is checked.
Source: `set_vocab` in conversion/phi.py, `llm_tokenizer_spm_session` in src/llama-vocab.cpp of llama.cpp
0c1e57098; the messages of tokenizer.model in src/sentencepiece_model.proto of google/sentencepiece v0.2.0.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.convert.protobuf import Message
from phi4local.convert.strict_json import MEBIBYTE, read_bytes, shown
from phi4local.convert.tokens import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
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
    from collections.abc import Mapping
    from pathlib import Path

_HINT = "llama.cpp would not tokenize as this model was trained"
_MODEL_LIMIT_BYTES = 64 * MEBIBYTE
_ADDED_SCORE, _HOLE_SCORE = -1000.0, -10000.0  # as set_vocab writes them
_RUN_SCORE = -1e9  # of `▁▁` and longer runs in the tokenizer.model that Llama 2 and Phi-3 share
_BPE = 2  # TrainerSpec.ModelType
_KINDS = {1: NORMAL, 2: UNKNOWN, 3: CONTROL, 4: NORMAL, 5: UNUSED, 6: BYTE}  # SentencePiece.Type
_EXCEPTIONS = ("<unk>", "<s>", "</s>", "<|endoftext|>")
_BYTE_PIECE = re.compile("<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True)
class Pieces:
    """The trained vocabulary in order of id: texts, scores (higher merges first) and kinds."""

    texts: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[int, ...]


def is_sentencepiece(tokenizer: dict[str, Any]) -> bool:
    """Return whether a tokenizer.json is SentencePiece's form: BPE that falls back to bytes."""
    model = tokenizer.get("model")
    return isinstance(model, dict) and bool(model.get("byte_fallback"))


def read_model(path: Path) -> Pieces:
    """Read a tokenizer.model.

    Example: Phi-3's has 32,000 pieces: `<unk>`, `<s>`, `</s>`, 256 bytes, then `▁▁`, and from `▁t` with score
    -1 on, each one lower by 1.

    Raises:
        CheckpointError: it is no such file.
        UnsupportedCheckpointError: another algorithm, or one that changes text before it cuts it.
    """
    model = Message(read_bytes(path, limit_bytes=_MODEL_LIMIT_BYTES), path)
    pieces = list(model.messages(1))
    if not pieces:
        raise CheckpointError(path, "is no SentencePiece model: it has no pieces")
    trainer, normalizer = model.message(2), model.message(3)
    differences = {
        "it is no BPE model": trainer.whole(3, 1) != _BPE,
        "it has no single bytes to fall back to": not trainer.whole(35, 0),
        "it puts spaces behind words": bool(trainer.whole(24, 0)),
        "it changes text before tokenizing": bool(normalizer.data(2)),
        "it puts no space before a text": not normalizer.whole(3, 1),
        "it removes extra spaces": bool(normalizer.whole(4, 1)),
        "it does not write spaces as U+2581": not normalizer.whole(5, 1),
    }
    _refuse(differences, path)
    kinds = tuple(_KINDS.get(piece.whole(3, 1), 0) for piece in pieces)
    if 0 in kinds:
        raise CheckpointError(path, f"piece {kinds.index(0)} is of a kind that does not exist")
    scores = tuple(piece.number(2, 0.0) for piece in pieces)
    return Pieces(tuple(piece.text(1) for piece in pieces), scores, kinds)


def read_json(tokenizer: dict[str, Any], added: Mapping[str, AddedToken], path: Path) -> Pieces:
    """Return the pieces of a tokenizer.json, with the scores that tokenizer.model has.

    The score of a piece is its place in order of id among those that are neither bytes nor added tokens, as
    a negative number. Runs of spaces, whose merges come last, have a score below all others.

    Example: Phi-3's `▁t` has id 260 and score -1; `▁▁`, id 259, has -1,000,000,000.

    Raises:
        CheckpointError: no vocabulary, or ids that are no row of whole numbers.
        UnsupportedCheckpointError: it cuts text in another way than llama.cpp.
    """
    model = _check_form(tokenizer, path)
    texts: list[str | None] = [None] * len(model["vocab"])
    for text, token in model["vocab"].items():
        place(texts, text, token, path)
    kinds = tuple(_kind(str(text), added) for text in texts)
    last = _pieces_merged_last(model, path)
    places = itertools.count()
    scores = [-float(next(places)) if kind == NORMAL else 0.0 for kind in kinds]
    pieces = tuple(map(str, texts))
    lowered = (_RUN_SCORE if text in last else score for text, score in zip(pieces, scores, strict=True))
    return Pieces(pieces, tuple(lowered), kinds)


def _pieces_merged_last(model: dict[str, Any], path: Path) -> set[str]:
    """Return the runs of spaces, if the last merges make runs of spaces only."""
    made = [left + right for left, right in pairs(model, path)]
    runs = set(itertools.takewhile(lambda piece: not piece.strip("▁"), reversed(made)))
    return runs | {"▁"} if runs else runs


def check_merges(tokenizer: dict[str, Any], pieces: Pieces, path: Path) -> None:
    """Check that the merges of tokenizer.json join the same neighbours, in the same order, as the scores do.

    Raises:
        CheckpointError: a merge that is no pair of tokens.
        UnsupportedCheckpointError: another order, a merge too few, or other pieces.
    """
    vocabulary = _check_form(tokenizer, path)["vocab"]
    ids = dict(zip(pieces.texts, range(len(pieces.texts)), strict=True))
    differ = next((text for text, token in ids.items() if vocabulary.get(text, token) != token), None)
    if differ is not None:
        raise CheckpointError(path, f"token `{shown(differ)}` has another id than in tokenizer.model")
    merges = list(pairs(tokenizer["model"], path))
    results = [ids.get(left + right) for left, right in merges]
    known = [pieces.scores[token] for token in results if token is not None]
    known_merges = set(merges)
    splits = (
        (text[:cut], text[cut:])
        for text, kind in zip(pieces.texts, pieces.kinds, strict=True)
        if kind == NORMAL
        for cut in range(1, len(text))
    )
    differences = {
        "its merges make pieces that tokenizer.model does not have": len(known) < len(results),
        "its merges are not in the order of the scores": any(
            before < after for before, after in itertools.pairwise(known)
        ),
        "it lacks a merge that SentencePiece makes": any(
            left in ids and right in ids and (left, right) not in known_merges for left, right in splits
        ),
    }
    _refuse(differences, path)


def with_added(
    pieces: Pieces, added: Mapping[str, AddedToken], count: int, path: Path
) -> tuple[tuple[str, ...], tuple[float, ...], tuple[int, ...]]:
    """Return texts, scores and kinds of `count` tokens: the pieces, the added tokens, and holes.

    Example: Phi-3 has 32,064 ids: 32,000 pieces, `<|endoftext|>` 32000 to `<|placeholder6|>`, and holes.

    Raises:
        CheckpointError: ids that are impossible, or texts that occur twice.
    """
    texts: list[str | None] = [None] * count
    for token, text in enumerate(pieces.texts):
        place(texts, text, token, path)
    for text, token_added in added.items():
        place(texts, text, token_added.id, path)
    rest = count - len(pieces.texts)
    scores, kinds = [*pieces.scores, *[_HOLE_SCORE] * rest], [*pieces.kinds, *[UNUSED] * rest]
    for token_added in added.values():
        scores[token_added.id] = _ADDED_SCORE
        kinds[token_added.id] = CONTROL if token_added.special else USER_DEFINED
    complete = without_holes(texts, path)
    check_ids(added, {text: token for token, text in enumerate(pieces.texts)}, path)
    return complete, tuple(scores), tuple(kinds)


def begins_and_ends(tokenizer: dict[str, Any], config: dict[str, Any], path: Path) -> dict[str, bool]:
    """Return whether tokens are added before (`bos`) and behind (`eos`) a text; a missing word says nothing.

    tokenizer.json's `post_processor` counts, then `add_bos_token` of tokenizer_config.json.

    Raises:
        UnsupportedCheckpointError: it adds more than one token at a side.
    """
    found: dict[str, bool] = {}
    step = tokenizer.get("post_processor")
    if isinstance(step, dict) and step.get("type") == "TemplateProcessing":
        single = step.get("single")
        kinds = ["".join(part) for part in single] if isinstance(single, list) else []
        if kinds.count("Sequence") != 1 or len(kinds) > 3 or kinds[:2] == ["SpecialToken"] * 2:
            raise UnsupportedCheckpointError(f"`{path}`: it adds several tokens around a text", hint=_HINT)
        if len(kinds) > 1:
            found |= {"bos": True} if kinds[0] == "SpecialToken" else {}
            found |= {"eos": True} if kinds[-1] == "SpecialToken" else {}
    for word in ("bos", "eos"):
        if isinstance(config.get(f"add_{word}_token"), bool):
            found.setdefault(word, config[f"add_{word}_token"])
    return found


def strips_as_phi_3(added: Mapping[str, AddedToken]) -> bool:
    """Return whether special tokens drop the white space behind them, and `_EXCEPTIONS` are all there.

    Those are what llama.cpp looks for in a model that it takes for Phi-3.
    """
    rest = [token.rstrip for text, token in added.items() if token.special and text not in _EXCEPTIONS]
    return bool(rest) and all(rest) and set(_EXCEPTIONS) <= added.keys()


def _kind(text: str, added: Mapping[str, AddedToken]) -> int:
    if _BYTE_PIECE.fullmatch(text):
        return BYTE
    return CONTROL if text in added else NORMAL


def _check_form(tokenizer: dict[str, Any], path: Path) -> dict[str, Any]:
    model = tokenizer.get("model")
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict):
        raise CheckpointError(path, "has no vocabulary")
    if not isinstance(model.get("merges"), list) or not model["merges"]:
        raise CheckpointError(path, "has no merges")
    prefix = {"type": "Prepend", "prepend": "▁"}
    spaces = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    differences = {
        f"its model is {shown(model.get('type'))}, not BPE": model.get("type", "BPE") != "BPE",
        "it takes whole pieces before merging": bool(model.get("ignore_merges")),
        "its normalizer is not Phi-3's": tokenizer.get("normalizer")
        != {"type": "Sequence", "normalizers": [prefix, spaces]},
        "it cuts text before tokenizing": tokenizer.get("pre_tokenizer") is not None,
    }
    _refuse(differences, path)
    return model


def _refuse(differences: dict[str, bool], path: Path) -> None:
    for problem, found in differences.items():
        if found:
            raise UnsupportedCheckpointError(f"`{path}`: {problem}", hint=_HINT)
