"""The vocabulary of a model file: can llama.cpp load it, and turn any text into tokens and back?

llama.cpp aborts the process on two equal tokens, on a byte without a token in a Llama-style vocabulary, and
on a missing first token that it is told to add (src/llama-vocab.cpp, as shipped with llama-cpp-python
0.3.36). In a byte-level vocabulary a character that stands for no byte costs it memory with the square of
the token's length.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from phi4local.errors import GGUFError
from phi4local.gguf.cursor import shown
from phi4local.gguf.fields import refused, require_type, text, texts, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.gguf.header import Header

MAX_TOKEN_CHARACTERS = 1_024
"""Longest token; the longest of Phi-4 and Phi-4-mini have 128 characters."""

MAX_TEMPLATE_BYTES = 2**20

_NORMAL, _BYTE = 1, 6
_DEFAULT_BOS = 11
_PREFIX = "tokenizer.ggml."
_TOKEN_ID_KEYS = tuple(
    f"{_PREFIX}{role}_id"
    for role in (
        *("bos_token", "eos_token", "eot_token", "eom_token", "unknown_token", "seperator_token"),
        *("padding_token", "cls_token", "mask_token", "prefix_token", "suffix_token", "middle_token"),
        *(
            "fim_pre_token",
            "fim_suf_token",
            "fim_mid_token",
            "fim_pad_token",
            "fim_rep_token",
            "fim_sep_token",
        ),
    )
)
_TYPES = {
    **dict.fromkeys(_TOKEN_ID_KEYS, ("u32",)),
    **{f"{_PREFIX}add_{what}": ("bool",) for what in ("bos_token", "eos_token", "sep_token", "space_prefix")},
    f"{_PREFIX}remove_extra_whitespaces": ("bool",),
    f"{_PREFIX}model": ("str",),
    f"{_PREFIX}pre": ("str",),
    f"{_PREFIX}tokens": ("[str]",),
    f"{_PREFIX}token_type": ("[i32]",),
    f"{_PREFIX}scores": ("[f32]", "[i32]"),
    f"{_PREFIX}merges": ("[str]",),
    "tokenizer.huggingface.json": ("str",),
    "tokenizer.chat_template": ("str",),
    "tokenizer.chat_templates": ("[str]",),
}


def check_vocabulary(header: Header) -> int:
    """Return the number of tokens after checking everything under `tokenizer.`.

    Takes time in proportion to the number of tokens and merges.

    Example: `check_vocabulary(read_header(path)) == 100_352` for Phi-4.

    Raises:
        GGUFError: a key that is unknown or of another type, tokens that are empty, equal, too long or have no
            possible type, merges that are no pairs, ids outside of the vocabulary, or a name that makes
            llama.cpp look for tokens that are not there.
    """
    _check_types(header)
    tokens = texts(header, f"{_PREFIX}tokens")
    _check_tokens(header, tokens)
    types = _token_types(header, tokens)
    model = text(header, f"{_PREFIX}model")
    if model == "gpt2":
        _check_byte_level(header, tokens, types)
        _check_merges(header)
    elif model == "llama":
        _check_sentencepiece(header, tokens)
    else:
        raise refused(header, f"{_PREFIX}model", "gpt2 or llama")
    _check_token_ids(header, len(tokens))
    _check_name(header, tokens)
    return len(tokens)


def _check_types(header: Header) -> None:
    for key in header.metadata:
        if key.startswith("tokenizer.chat_template"):
            _check_template(header, key)
        elif key in _TYPES:
            require_type(header, key, *_TYPES[key])
        elif key.startswith("tokenizer."):
            raise GGUFError(header.path, f"`{shown(key)}` is not a key of Phi-4's tokenizer")


def _check_template(header: Header, key: str) -> None:
    value = require_type(header, key, "[str]" if key == "tokenizer.chat_templates" else "str")
    if isinstance(value, str) and len(value.encode()) > MAX_TEMPLATE_BYTES:
        raise GGUFError(
            header.path,
            f"`{shown(key)}` has {len(value.encode()):,} bytes; at most {MAX_TEMPLATE_BYTES:,} are read",
        )


def _check_tokens(header: Header, tokens: Sequence[str]) -> None:
    if not tokens:
        raise GGUFError(header.path, f"`{_PREFIX}tokens` is empty")
    for length in (min(map(len, tokens)), max(map(len, tokens))):
        if not 1 <= length <= MAX_TOKEN_CHARACTERS:
            index = next(index for index, token in enumerate(tokens) if len(token) == length)
            raise GGUFError(
                header.path,
                f"token {index} has {length:,} characters; expected 1 to {MAX_TOKEN_CHARACTERS:,}",
            )
    if len(set(tokens)) != len(tokens):
        seen: dict[str, int] = {}
        for index, token in enumerate(tokens):
            if seen.setdefault(token, index) != index:
                raise GGUFError(header.path, f"tokens {seen[token]} and {index} are both `{shown(token)}`")
    if whole(header, "phi3.vocab_size", default=len(tokens)) != len(tokens):
        raise refused(header, "phi3.vocab_size", f"{len(tokens)}, the number of tokens")


def _token_types(header: Header, tokens: Sequence[str]) -> Sequence[int]:
    types = require_type(header, f"{_PREFIX}token_type", "[i32]")
    scores = header.get(f"{_PREFIX}scores", types)
    for name, values in (("token_type", types), ("scores", scores)):
        if isinstance(values, tuple) and len(values) != len(tokens):
            raise GGUFError(
                header.path, f"`{_PREFIX}{name}` has {len(values):,} entries for {len(tokens):,} tokens"
            )
    if not isinstance(types, tuple) or not set(types) <= set(range(1, 7)):
        raise GGUFError(header.path, f"`{_PREFIX}token_type` holds numbers other than 1 to 6")
    for token, token_type in zip(tokens, types, strict=True):
        if token_type == _BYTE and not re.fullmatch("<0x[0-9A-F]{2}>", token):
            raise GGUFError(
                header.path, f"token `{shown(token)}` has the type byte; expected <0x00> to <0xFF>"
            )
    return types


def byte_characters() -> frozenset[str]:
    """Return the 256 characters that stand for bytes in a byte-level vocabulary.

    Printable Latin-1 characters stand for themselves, the others follow from U+0100 on.

    Example: `"Ġ" in byte_characters()`, the space; `" " not in byte_characters()`.

    Source: bytes_to_unicode in https://github.com/openai/gpt-2/blob/9b63575/src/encoder.py
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = range(256, 256 + 256 - len(printable))
    return frozenset(map(chr, (*printable, *others)))


def _check_byte_level(header: Header, tokens: Sequence[str], types: Sequence[int]) -> None:
    allowed = byte_characters()
    normal = [token for token, token_type in zip(tokens, types, strict=True) if token_type == _NORMAL]
    if set("".join(normal)) <= allowed:
        return
    token = next(token for token in normal if not set(token) <= allowed)
    raise GGUFError(header.path, f"token `{shown(token)}` holds a character that stands for no byte")


def _check_merges(header: Header) -> None:
    key = f"{_PREFIX}merges"
    for index, merge in enumerate(texts(header, key)):
        left, _, right = merge.partition(" ")
        if not left or not right or " " in right:
            raise GGUFError(
                header.path, f"`{key}`, entry {index}, is `{shown(merge)}`; expected two texts and a space"
            )


def _check_sentencepiece(header: Header, tokens: Sequence[str]) -> None:
    known = set(tokens)
    for byte in range(256):
        # llama.cpp looks the byte up while it tokenizes, and ends the process when nothing is there.
        if f"<0x{byte:02X}>" not in known:
            raise GGUFError(header.path, f"the vocabulary has no token `<0x{byte:02X}>`")
    # They say which pieces are joined first; without them llama.cpp takes 0 for all, and joins others.
    scores = require_type(header, f"{_PREFIX}scores", "[f32]", "[i32]")
    for index, score in enumerate(scores if isinstance(scores, tuple) else ()):
        if not math.isfinite(score):
            raise GGUFError(header.path, f"`{_PREFIX}scores`, entry {index}, is {score}")


def _check_token_ids(header: Header, tokens: int) -> None:
    require_type(header, f"{_PREFIX}eos_token_id", "u32")
    for key in _TOKEN_ID_KEYS:
        whole(header, key, 0, tokens - 1, default=0)
    # Without the key llama.cpp takes token 11, and aborts where a text begins with it and it is not there.
    if header.get(f"{_PREFIX}add_bos_token", default=False) or tokens <= _DEFAULT_BOS:
        whole(header, f"{_PREFIX}bos_token_id", 0, tokens - 1)


def _check_name(header: Header, tokens: Sequence[str]) -> None:
    name = header.get("general.name")
    if not isinstance(name, str) or not re.search("phi-?3", name, re.IGNORECASE | re.ASCII):
        return
    missing = {"</s>", "<unk>", "<s>", "<|endoftext|>"}.difference(tokens)
    if missing:
        raise GGUFError(
            header.path,
            f"`general.name` is `{shown(name)}`, and llama.cpp then looks for {', '.join(sorted(missing))}",
            hint="convert it again with a name that does not say phi3 or phi-3",
        )
