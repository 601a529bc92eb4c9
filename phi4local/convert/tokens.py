"""What both kinds of vocabulary have in common: kinds of tokens, added tokens, texts that can be loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from phi4local.convert.strict_json import shown
from phi4local.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens, `llama_token_type` in include/llama.h."""


class AddedToken(NamedTuple):
    """A token beside the trained vocabulary. Special ones control the model; some drop white space behind."""

    id: int
    special: bool
    rstrip: bool = False


def added_tokens(tokenizer: dict[str, Any], path: Path) -> dict[str, AddedToken]:
    """Return the added tokens of a tokenizer.json by their texts.

    Example: Phi-4 → 96 tokens, `<|im_end|>` with id 100265, special.

    Raises:
        CheckpointError: one without text or id, or one that occurs twice.
    """
    entries = tokenizer.get("added_tokens") or []
    added: dict[str, AddedToken] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        text, token = (entry.get("content"), entry.get("id")) if isinstance(entry, dict) else (None, None)
        if not isinstance(text, str) or type(token) is not int or text in added:
            raise CheckpointError(path, f"its added token {shown(entry)} has no text, no id, or occurs twice")
        added[text] = AddedToken(token, entry.get("special") is True, entry.get("rstrip") is True)
    return added


def check_ids(added: Mapping[str, AddedToken], vocabulary: Mapping[str, Any], path: Path) -> None:
    """Refuse ids that `tokenizers` does not use: a text that is no trained token gets the next free one.

    Example: after 100,256 trained tokens the first added one has to be 100256, whatever it says.

    Raises:
        CheckpointError: an added token with another id.

    Source: `AddedVocabulary::add_tokens` in tokenizers/src/tokenizer/added_vocabulary.rs of tokenizers 0.22.
    """
    highest = -1
    for text, token in added.items():
        given = vocabulary.get(text, max(highest + 1, len(vocabulary)))
        if given != token.id:
            raise CheckpointError(
                path, f"added token `{shown(text)}` has two ids: it says {token.id}, tokenizers takes {given}"
            )
        highest = max(highest, token.id)


def place(tokens: list[str | None], text: str, token: object, path: Path) -> None:
    """Put `text` at its id.

    Raises:
        CheckpointError: the id is outside of the vocabulary, or another text is there.
    """
    if type(token) is not int or not 0 <= token < len(tokens):
        raise CheckpointError(
            path,
            f"token `{shown(text)}` has the id {shown(token)}; config.json's vocab_size is {len(tokens):,}",
        )
    if tokens[token] not in (None, text):
        raise CheckpointError(
            path, f"tokens `{shown(tokens[token])}` and `{shown(text)}` share the id {token}"
        )
    tokens[token] = text


def without_holes(tokens: Sequence[str | None], path: Path) -> tuple[str, ...]:
    """Return the texts with `[PAD17]` and the like where an id has none.

    Raises:
        CheckpointError: what aborts llama.cpp or is read differently there: an empty text, a text twice, a
            NUL, half a character.
    """
    complete = tuple(f"[PAD{token}]" if text is None else text for token, text in enumerate(tokens))
    if len(set(complete)) != len(complete):
        raise CheckpointError(path, "two tokens have the same text")
    together = "".join(complete)
    if "\0" in together or any("\ud800" <= mark <= "\udfff" for mark in set(together)):
        raise CheckpointError(path, "a token holds a NUL or half a UTF-16 pair")
    if "" in complete:
        raise CheckpointError(path, f"token {complete.index('')} is empty")
    return complete


def pairs(model: dict[str, Any], path: Path) -> Iterator[tuple[str, str]]:
    """Yield the two parts of each merge, in order of rank. Both spellings, a text and a list, are read.

    Raises:
        CheckpointError: a merge that is no pair of tokens, or makes none.
    """
    vocabulary = model["vocab"]
    for rank, merge in enumerate(model["merges"]):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise CheckpointError(path, f"merge {rank:,} is {shown(merge)}; it must be a pair of tokens")
        left, right = parts
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary:
            raise CheckpointError(
                path, f"merge {rank:,} is {shown(merge)}; its parts or its result are no tokens"
            )
        yield left, right
