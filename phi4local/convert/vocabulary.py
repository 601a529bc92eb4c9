"""A checkpoint's tokenizer files → the tokenizer.* keys of a GGUF file, for both kinds of vocabulary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.convert import byte_level, pretokenizer, sentencepiece
from phi4local.convert.chat_template import read_chat_template
from phi4local.convert.metadata import MetadataEntry
from phi4local.convert.strict_json import MEBIBYTE, read_object
from phi4local.convert.tokens import AddedToken, added_tokens
from phi4local.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phi4local.convert.checkpoint import Checkpoint

_TOKENIZER_LIMIT_BYTES = 128 * MEBIBYTE
_SPECIAL_KEYS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Everything that the file says about tokens.

    Attributes:
        model: `gpt2` for byte-level BPE, `llama` for SentencePiece.
        pre: llama.cpp's name of the pre-tokenizer.
        tokens: texts in order of id, in the alphabet of the model; special tokens as they are.
        types: kinds in order of id.
        merges: pairs in order of rank, as `left right`; SentencePiece has none.
        scores: SentencePiece's, in order of id.
        special_ids: GGUF's word → id, such as `eos` → 100265.
        adds: whether `bos` and `eos` are put around a text; a word that is missing leaves it to llama.cpp.
        chat_template: Jinja text, or `None` if the checkpoint brings none.
        strips_behind: white space behind special tokens is dropped, and llama.cpp can be made to do so.
    """

    model: str
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    special_ids: dict[str, int]
    chat_template: str | None
    merges: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    adds: Mapping[str, bool] = field(default_factory=dict)
    strips_behind: bool = False

    def metadata(self) -> tuple[MetadataEntry, ...]:
        """Return the tokenizer.* keys.

        Example: Phi-4 → `tokenizer.ggml.pre` "dbrx", 100,352 tokens, 100,000 merges, `eot_token_id` 100265,
        `add_bos_token` false.
        """
        entries = [
            MetadataEntry("tokenizer.ggml.model", "str", self.model),
            MetadataEntry("tokenizer.ggml.pre", "str", self.pre),
            MetadataEntry("tokenizer.ggml.tokens", "[str]", self.tokens),
        ]
        if self.scores:
            entries.append(MetadataEntry("tokenizer.ggml.scores", "[f32]", self.scores))
        entries.append(MetadataEntry("tokenizer.ggml.token_type", "[i32]", self.types))
        if self.merges:
            entries.append(MetadataEntry("tokenizer.ggml.merges", "[str]", self.merges))
        entries += [
            MetadataEntry(f"tokenizer.ggml.{word}_token_id", "u32", token)
            for word, token in self.special_ids.items()
        ]
        entries += [
            MetadataEntry(f"tokenizer.ggml.add_{word}_token", "bool", added)
            for word, added in self.adds.items()
        ]
        if self.chat_template:
            entries.append(MetadataEntry("tokenizer.chat_template", "str", self.chat_template))
        return tuple(entries)


def read_vocabulary(checkpoint: Checkpoint, *, vocabulary_tokens: int) -> Vocabulary:
    """Read the checkpoint's vocabulary; its content says which kind it is.

    Args:
        checkpoint: the folder.
        vocabulary_tokens: rows of the embedding; ids without a token become `[PAD17]` and the like, UNUSED.

    Example: phi4-nano → 8,192 tokens, 96 of them CONTROL, `special_ids["eos"]` 8105, `pre` "dbrx".

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other.
        UnsupportedCheckpointError: another kind of vocabulary, or a pre-tokenizer that is not Phi-4's.
    """
    path = checkpoint.file("tokenizer.json")
    model_path = checkpoint.file("tokenizer.model")
    if path is None and model_path is None:
        raise CheckpointError(checkpoint.folder, "is incomplete: tokenizer.json is missing")
    tokenizer = read_object(path, limit_bytes=_TOKENIZER_LIMIT_BYTES) if path else {}
    config_path = checkpoint.file("tokenizer_config.json")
    config = read_object(config_path) if config_path else {}
    parts: dict[str, Any]
    if path is None or sentencepiece.is_sentencepiece(tokenizer):
        parts = _sentencepiece(checkpoint, tokenizer, config, vocabulary_tokens)
    else:
        parts = _byte_level(tokenizer, path, vocabulary_tokens)
    added = parts.pop("added")
    return Vocabulary(
        special_ids=_special_ids(config, checkpoint.config, added, vocabulary_tokens),
        chat_template=read_chat_template(checkpoint.file, config),
        **parts,
    )


def _byte_level(tokenizer: dict[str, Any], path: Path, count: int) -> dict[str, Any]:
    model = byte_level.byte_level_model(tokenizer, path)
    added = added_tokens(tokenizer, path)
    tokens, types = byte_level.tokens_and_types(model["vocab"], added, count, path)
    return {
        "model": "gpt2",
        "pre": pretokenizer.recognise(tokenizer.get("pre_tokenizer"), path),
        "tokens": tokens,
        "types": types,
        "merges": tuple(byte_level.merge_lines(model, path)),
        "adds": {"bos": False, "eos": False},
        "added": added,
    }


def _sentencepiece(
    checkpoint: Checkpoint, tokenizer: dict[str, Any], config: dict[str, Any], count: int
) -> dict[str, Any]:
    json_path = checkpoint.folder / "tokenizer.json"
    path = checkpoint.file("tokenizer.model")
    added = added_tokens(tokenizer, json_path) if tokenizer else _added_without_json(checkpoint, config)
    pieces = sentencepiece.read_model(path) if path else sentencepiece.read_json(tokenizer, added, json_path)
    if tokenizer:
        sentencepiece.check_merges(tokenizer, pieces, json_path)
    tokens, scores, types = sentencepiece.with_added(pieces, added, count, path or json_path)
    return {
        "model": "llama",
        "pre": "default",
        "tokens": tokens,
        "types": types,
        "scores": scores,
        "adds": sentencepiece.begins_and_ends(tokenizer, config, json_path),
        "strips_behind": sentencepiece.strips_as_phi_3(added),
        "added": added or {text: AddedToken(token, special=True) for token, text in enumerate(tokens)},
    }


def _added_without_json(checkpoint: Checkpoint, config: dict[str, Any]) -> dict[str, AddedToken]:
    """Return the added tokens where there is no tokenizer.json: tokenizer_config.json names them by id."""
    table = config.get("added_tokens_decoder") or {}
    entries = [
        {**entry, "id": int(token) if token.isdecimal() else token} if isinstance(entry, dict) else entry
        for token, entry in (table.items() if isinstance(table, dict) else [])
    ]
    path = checkpoint.file("added_tokens.json")
    if not entries and path:
        entries = [{"content": text, "id": token} for text, token in read_object(path).items()]
    return added_tokens({"added_tokens": entries}, path or checkpoint.folder / "tokenizer_config.json")


def _special_ids(
    tokenizer_config: dict[str, Any], config: dict[str, Any], added: Mapping[str, AddedToken], count: int
) -> dict[str, int]:
    """Return the ids of bos, eos and so on: tokenizer_config.json by text, else config.json by number."""
    found: dict[str, int] = {}
    for name, word in _SPECIAL_KEYS.items():
        entry = tokenizer_config.get(f"{name}_token")
        text = entry.get("content") if isinstance(entry, dict) else entry
        number = config.get(f"{name}_token_id")
        if isinstance(text, str) and text in added:
            found[word] = added[text].id
        elif type(number) is int and 0 <= number < count:
            found[word] = number
    return found
