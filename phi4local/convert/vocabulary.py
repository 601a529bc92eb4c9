"""A tokenizer.json and its companions → the tokenizer.* keys of a GGUF file.

Source: `get_vocab_base` in conversion/base.py and `SpecialVocab` in gguf-py/gguf/vocab.py of llama.cpp
0c1e57098, read there and written here without `transformers`. Added here: `tokenizer.ggml.eot_token_id` is
written, because llama.cpp otherwise takes whichever of several end tokens it meets first in a hash map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.convert import pretokenizer
from phi4local.convert.metadata import MetadataEntry
from phi4local.convert.strict_json import MEBIBYTE, read_bytes, read_object, shown
from phi4local.errors import CheckpointError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phi4local.convert.checkpoint import Checkpoint

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Kinds of tokens, `llama_token_type` in include/llama.h."""

_TOKENIZER_LIMIT_BYTES = 128 * MEBIBYTE
_TEMPLATE_LIMIT_BYTES = 4 * MEBIBYTE
_SPECIAL_KEYS = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
_LOOKS_SPECIAL = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
_BRACKETS = (("<|", "|>"), ("<｜", "｜>"), ("<unused", ">"))  # noqa: RUF001 - the wide bars are DeepSeek's
_END_OF_TURN = ("<|im_end|>", "<|end|>")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Everything that the file says about tokens.

    Attributes:
        pre: llama.cpp's name of the pre-tokenizer.
        tokens: texts in order of id, in the byte-level alphabet, special tokens as they are.
        types: kinds in order of id.
        merges: pairs in order of rank, as `left right`.
        special_ids: GGUF's word → id, such as `eos` → 100265.
        chat_template: Jinja text, or `None` if the checkpoint brings none.
    """

    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    special_ids: dict[str, int]
    chat_template: str | None

    def metadata(self) -> tuple[MetadataEntry, ...]:
        """Return the tokenizer.* keys.

        Example: Phi-4 → `tokenizer.ggml.pre` "dbrx", 100,352 tokens, 100,000 merges, `eot_token_id` 100265,
        `add_bos_token` false.
        """
        ids = [
            MetadataEntry(f"tokenizer.ggml.{word}_token_id", "u32", token)
            for word, token in self.special_ids.items()
        ]
        template = (
            [MetadataEntry("tokenizer.chat_template", "str", self.chat_template)]
            if self.chat_template
            else []
        )
        return (
            MetadataEntry("tokenizer.ggml.model", "str", "gpt2"),
            MetadataEntry("tokenizer.ggml.pre", "str", self.pre),
            MetadataEntry("tokenizer.ggml.tokens", "[str]", self.tokens),
            MetadataEntry("tokenizer.ggml.token_type", "[i32]", self.types),
            MetadataEntry("tokenizer.ggml.merges", "[str]", self.merges),
            *ids,
            MetadataEntry("tokenizer.ggml.add_bos_token", "bool", value=False),
            MetadataEntry("tokenizer.ggml.add_eos_token", "bool", value=False),
            *template,
        )


def read_vocabulary(checkpoint: Checkpoint, *, vocabulary_tokens: int) -> Vocabulary:
    """Read the checkpoint's byte-level BPE vocabulary.

    Args:
        checkpoint: the folder.
        vocabulary_tokens: rows of the embedding; ids without a token become `[PAD17]` and the like, UNUSED.

    Example: phi4-nano → 8,192 tokens, 96 of them CONTROL, `special_ids["eos"]` 8105, `pre` "dbrx".

    Raises:
        CheckpointError: files that are missing, damaged or contradict each other.
        UnsupportedCheckpointError: another kind of vocabulary, or a pre-tokenizer that is not Phi-4's.
    """
    path = checkpoint.file("tokenizer.json")
    if path is None:
        raise _no_tokenizer(checkpoint)
    tokenizer = read_object(path, limit_bytes=_TOKENIZER_LIMIT_BYTES)
    model = _byte_level_bpe(tokenizer, path)
    added = _added_tokens(tokenizer, path)
    tokens, types = _tokens(model["vocab"], added, vocabulary_tokens, path)
    config_path = checkpoint.file("tokenizer_config.json")
    config = read_object(config_path) if config_path else {}
    return Vocabulary(
        pre=pretokenizer.recognise(tokenizer.get("pre_tokenizer"), path),
        tokens=tokens,
        types=types,
        merges=tuple(_merges(model["merges"], model["vocab"], path)),
        special_ids=_special_ids(config, checkpoint.config, added, vocabulary_tokens),
        chat_template=_chat_template(checkpoint, config),
    )


def _no_tokenizer(checkpoint: Checkpoint) -> CheckpointError | UnsupportedCheckpointError:
    if checkpoint.file("tokenizer.model"):
        return UnsupportedCheckpointError(
            f"`{checkpoint.folder}`: its vocabulary is SentencePiece's (tokenizer.model), as Phi-3's is",
            hint="use a Phi-4 checkpoint such as microsoft/phi-4",
        )
    return CheckpointError(checkpoint.folder, "is incomplete: tokenizer.json is missing")


def _byte_level_bpe(tokenizer: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the `model` part after checking that llama.cpp tokenizes the same way."""
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
    parts = step.get("processors") if isinstance(step, dict) and step.get("type") == "Sequence" else None
    return isinstance(parts, list) and all(_adds_nothing(part) for part in parts)


def _added_tokens(tokenizer: dict[str, Any], path: Path) -> dict[str, tuple[int, bool]]:
    """Return id and special flag of each added token, by its text."""
    entries = tokenizer.get("added_tokens") or []
    added: dict[str, tuple[int, bool]] = {}
    for entry in entries if isinstance(entries, list) else [entries]:
        text, token = (entry.get("content"), entry.get("id")) if isinstance(entry, dict) else (None, None)
        if not isinstance(text, str) or type(token) is not int or text in added:
            raise CheckpointError(path, f"its added token {shown(entry)} has no text, no id, or occurs twice")
        added[text] = (token, entry.get("special") is True)
    return added


def _tokens(
    vocabulary: dict[str, Any], added: dict[str, tuple[int, bool]], count: int, path: Path
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    tokens: list[str | None] = [None] * count
    types = [NORMAL] * count
    for text, token in (*vocabulary.items(), *((text, token) for text, (token, _) in added.items())):
        if type(token) is not int or not 0 <= token < count:
            raise CheckpointError(
                path,
                f"token `{shown(text)}` has the id {shown(token)}; config.json's vocab_size is {count:,}",
            )
        if tokens[token] not in (None, text):
            raise CheckpointError(
                path, f"tokens `{shown(tokens[token])}` and `{shown(text)}` share the id {token}"
            )
        if vocabulary.get(text, token) != token:
            raise CheckpointError(path, f"token `{shown(text)}` has two ids")
        tokens[token] = text
    for text, (token, special) in added.items():
        types[token] = CONTROL if special or _looks_special(text) else USER_DEFINED
    holes = [token for token, text in enumerate(tokens) if text is None]
    for token in holes:
        types[token] = UNUSED
    complete = tuple(f"[PAD{token}]" if text is None else text for token, text in enumerate(tokens))
    _check_texts(complete, path)
    return complete, tuple(types)


def _check_texts(tokens: tuple[str, ...], path: Path) -> None:
    """Refuse what aborts llama.cpp or is read differently there: a text twice, a NUL, half a character."""
    if len(set(tokens)) != len(tokens):
        raise CheckpointError(path, "two tokens have the same text")
    together = "".join(tokens)
    if "\0" in together or any("\ud800" <= mark <= "\udfff" for mark in set(together)):
        raise CheckpointError(path, "a token holds a NUL or half a UTF-16 pair")


def _looks_special(text: str) -> bool:
    """Return whether a token controls the model although it is not marked so. Example: `<|tool_call|>`."""
    return text in _LOOKS_SPECIAL or any(
        text.startswith(left) and text.endswith(right) for left, right in _BRACKETS
    )


def _merges(merges: list[Any], vocabulary: dict[str, Any], path: Path) -> Iterator[str]:
    """Yield each merge as `left right`; a space inside a part is written as U+0120, as llama.cpp does."""
    for rank, merge in enumerate(merges):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise CheckpointError(path, f"merge {rank:,} is {shown(merge)}; it must be a pair of tokens")
        left, right = parts
        if left not in vocabulary or right not in vocabulary or left + right not in vocabulary:
            raise CheckpointError(
                path, f"merge {rank:,} is {shown(merge)}; its parts or its result are no tokens"
            )
        yield f"{left.replace(' ', 'Ġ')} {right.replace(' ', 'Ġ')}"


def _special_ids(
    tokenizer_config: dict[str, Any], config: dict[str, Any], added: dict[str, tuple[int, bool]], count: int
) -> dict[str, int]:
    """Return the ids of bos, eos and so on: tokenizer_config.json by text, else config.json by number."""
    found: dict[str, int] = {}
    for name, word in _SPECIAL_KEYS.items():
        entry = tokenizer_config.get(f"{name}_token")
        text = entry.get("content") if isinstance(entry, dict) else entry
        number = config.get(f"{name}_token_id")
        if isinstance(text, str) and text in added:
            found[word] = added[text][0]
        elif type(number) is int and 0 <= number < count:
            found[word] = number
    for text in _END_OF_TURN:
        if text in added:
            found["eot"] = added[text][0]
            break
    return found


def _chat_template(checkpoint: Checkpoint, config: dict[str, Any]) -> str | None:
    """Return the template of tokenizer_config.json, else chat_template.jinja's, else chat_template.json's."""
    template: object = config.get("chat_template")
    path = checkpoint.file("tokenizer_config.json")
    if template is None and (path := checkpoint.file("chat_template.jinja")):
        try:
            template = read_bytes(path, limit_bytes=_TEMPLATE_LIMIT_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(path, "is not UTF-8 text") from error
    elif template is None and (path := checkpoint.file("chat_template.json")):
        template = read_object(path).get("chat_template")
    if isinstance(template, list):
        defaults = [entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default"]
        template = defaults[0].get("template") if defaults else None
    if template is None:
        return None
    if not isinstance(template, str) or "\0" in template or not _is_text(template):
        raise CheckpointError(path or checkpoint.folder, "its chat_template is no text")
    return template


def _is_text(text: str) -> bool:
    return not any("\ud800" <= mark <= "\udfff" for mark in text)
