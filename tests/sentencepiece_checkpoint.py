"""A small vocabulary of Phi-3's kind, written as tokenizer.json and as tokenizer.model, for tests.

Pieces are trained by the `tokenizers` package; merges, scores and the file of SentencePiece are written here,
without phi4local.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, models, trainers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CONTROLS = ("<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
ADDED = ("<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>")
"""As Phi-3 has them, behind the pieces; all but the first drop white space behind them."""


def train_pieces(texts: Iterable[str], count: int) -> list[str]:
    """Return the pieces of a BPE vocabulary over `texts`, best first, single characters last."""
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=count, show_progress=False)
    tokenizer.train_from_iterator(("▁" + text.replace(" ", "▁") for text in texts), trainer)
    by_id = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
    return [piece for piece in by_id if len(piece) > 1] + [piece for piece in by_id if len(piece) == 1]


def merges_of(pieces: Sequence[str]) -> list[list[str]]:
    """Return every way to make a piece of two others, best piece first, as SentencePiece merges them."""
    known = set(pieces)
    best_first = sorted(pieces, key=lambda piece: -score(piece, pieces))
    return [
        [piece[:cut], piece[cut:]]
        for piece in best_first
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]


def score(piece: str, pieces: Sequence[str]) -> float:
    """Return the score of a piece: each one lower by 1; runs of spaces come last, as in Llama 2."""
    return -1e9 if not piece.strip("▁") else -float(pieces.index(piece))


def tokenizer_json(pieces: Sequence[str]) -> dict[str, Any]:
    """Return a tokenizer.json in the form of Phi-3's."""
    texts = [*CONTROLS, *BYTES, *pieces]
    added = [(token, text) for token, text in enumerate(CONTROLS)]
    added += [(len(texts) + place, text) for place, text in enumerate(ADDED)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, "content": text, "single_word": False, "lstrip": False, "normalized": False}
            | {"rstrip": text not in ("<unk>", "<s>", "<|endoftext|>"), "special": True}
            for token, text in added
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {},
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {text: token for token, text in enumerate(texts)},
            "merges": merges_of(pieces),
        },
    }


def tokenizer_model(pieces: Sequence[str], **normalizer: int) -> bytes:
    """Return the same vocabulary as SentencePiece's file; `normalizer` sets fields by number, as f4=1."""
    rows = [(text, 0.0, 2 if text == "<unk>" else 3) for text in CONTROLS]
    rows += [(text, 0.0, 6) for text in BYTES]
    rows += [(text, score(text, pieces), 1) for text in pieces]
    model = b"".join(
        _data(1, _data(1, text.encode()) + b"\x15" + struct.pack("<f", score) + _whole(3, kind))
        for text, score, kind in rows
    )
    fields = {"f3": 1, "f4": 0, "f5": 1} | normalizer
    trainer = _whole(3, 2) + _whole(35, 1)
    return model + _data(2, trainer) + _data(3, b"".join(_whole(int(k[1:]), v) for k, v in fields.items()))


def tokenizer_config() -> dict[str, Any]:
    """Return a tokenizer_config.json in the form of Phi-3's."""
    return {
        "add_bos_token": False,
        "add_eos_token": False,
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "tokenizer_class": "LlamaTokenizer",
        "chat_template": "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}"
        "{% endfor %}<|assistant|>\n",
    }


def write_tokenizer(folder: Path, pieces: Sequence[str], *, with_model: bool, with_json: bool = True) -> int:
    """Write the tokenizer files below `folder` and return the number of tokens."""
    whole = tokenizer_json(pieces)
    config = tokenizer_config()
    decoder = {
        str(entry["id"]): {k: v for k, v in entry.items() if k != "id"} for entry in whole["added_tokens"]
    }
    config["added_tokens_decoder"] = decoder
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").unlink(missing_ok=True)
    if with_json:
        (folder / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
    if with_model:
        (folder / "tokenizer.model").write_bytes(tokenizer_model(pieces))
    return len(whole["model"]["vocab"]) + len(ADDED)


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _data(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content
