"""Phi-3's kind of vocabulary: read from both of its files, and tokenized by llama.cpp as by `tokenizers`."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import gguf
import pytest
from tokenizers import Tokenizer

from phi4local import errors
from phi4local import gguf as our_gguf
from phi4local.convert import convert_checkpoint, plan_conversion
from tests import sentencepiece_checkpoint as phi3
from tests.llama_tokenizer import llama_ids
from tests.random_checkpoint import NANO, Size, write_json, write_random_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

SIZE = Size(vocabulary="sentencepiece", hidden=32, layers=1, sliding_window=2047)
FILES = {"both": (True, True), "tokenizer.model": (True, False), "tokenizer.json": (False, True)}
CARD = (NANO / "MODEL_CARD.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pieces() -> list[str]:
    return phi3.train_pieces(CARD.splitlines(), 700)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_random_checkpoint(tmp_path / "my tune", SIZE)


def vocabulary_keys(folder: Path) -> dict[str, object]:
    entries = plan_conversion(folder, "Q8_0").metadata
    return {entry.key: entry.value for entry in entries if entry.key.startswith("tokenizer.")}


@pytest.mark.parametrize("files", FILES)
def test_both_files_make_one_vocabulary(files: str, checkpoint: Path, pieces: list[str]) -> None:
    from_both = vocabulary_keys(checkpoint)
    for name in ("tokenizer.json", "tokenizer.model"):
        (checkpoint / name).unlink()
    with_model, with_json = FILES[files]
    phi3.write_tokenizer(checkpoint, pieces, with_model=with_model, with_json=with_json)
    assert vocabulary_keys(checkpoint) == from_both


def test_tokens_scores_and_kinds(checkpoint: Path, pieces: list[str]) -> None:
    found = vocabulary_keys(checkpoint)
    texts = [*phi3.CONTROLS, *phi3.BYTES, *pieces, *phi3.ADDED]
    scores = [-1000.0] * 3 + [0.0] * 256 + [phi3.score(piece, pieces) for piece in pieces] + [-1000.0] * 5
    kinds = [3] * 3 + [6] * 256 + [1] * len(pieces) + [3] * 5
    assert found["tokenizer.ggml.model"] == "llama"
    assert found["tokenizer.ggml.pre"] == "default"
    assert list(found["tokenizer.ggml.tokens"]) == texts
    assert list(found["tokenizer.ggml.scores"]) == scores
    assert list(found["tokenizer.ggml.token_type"]) == kinds
    assert found["tokenizer.ggml.bos_token_id"] == 1
    assert found["tokenizer.ggml.eos_token_id"] == texts.index("<|endoftext|>")
    assert found["tokenizer.ggml.eot_token_id"] == texts.index("<|end|>")
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert "tokenizer.ggml.merges" not in found


def test_ids_without_a_token(checkpoint: Path) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    hole = tokenizer["added_tokens"].pop()["id"]
    write_json(checkpoint / "tokenizer.json", tokenizer)
    found = vocabulary_keys(checkpoint)
    assert found["tokenizer.ggml.tokens"][hole] == f"[PAD{hole}]"
    assert found["tokenizer.ggml.scores"][hole] == -10000.0
    assert found["tokenizer.ggml.token_type"][hole] == 5


PLAIN = [
    "Hello, world! It's 12345 o'clock.",
    " leading",
    "trailing ",
    "  two   three    four",
    "a" + " " * 40 + "b",
    *(" " * count for count in range(1, 20)),
    "naïve ÉCOLE e\u0301 日本語 🙂👍🏽 русский",
    "tab\tand\r\nline\n\n\nends",
    "▁▁ U+2581 ▁",
    "<0x0A> <s> </s> <unk>",
    "[INST] <|user|>\nforged<|end|>",
    "\u00a0\u200b\ufeff",
    "x",
]
SPECIAL = ["<|user|>\nHello there<|end|>\n<|assistant|>\n Hi<|end|>\n"]
for token in (*phi3.CONTROLS, *phi3.ADDED):
    SPECIAL += [token, f"a{token}b", f"a {token} b\n{token}"]


@pytest.mark.parametrize("files", FILES)
def test_llama_cpp_tokenizes_as_tokenizers_does(
    files: str, checkpoint: Path, pieces: list[str], tmp_path: Path
) -> None:
    whole = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    for name in ("tokenizer.json", "tokenizer.model"):
        (checkpoint / name).unlink()
    with_model, with_json = FILES[files]
    phi3.write_tokenizer(checkpoint, pieces, with_model=with_model, with_json=with_json)
    output = tmp_path / "m.gguf"
    convert_checkpoint(checkpoint, output, "Q8_0")
    our_gguf.validate(output)
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    plain = Tokenizer.from_str(json.dumps(whole | {"added_tokens": []}))
    texts = [*PLAIN, *filter(None, CARD.splitlines())]
    found = llama_ids(output, texts)
    assert found == [plain.encode(text, add_special_tokens=False).ids for text in texts]
    assert max(map(max, found)) > 259  # merges took place
    if files != "tokenizer.model":  # without tokenizer.json nobody knows which tokens drop white space
        expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in SPECIAL]
        assert llama_ids(output, SPECIAL, special=True) == expected


def test_the_name_makes_llama_cpp_drop_white_space_where_the_tokenizer_does(checkpoint: Path) -> None:
    plan = plan_conversion(checkpoint, "Q8_0")
    assert plan.name == "my tune (Phi-3)"
    assert plan.repairs[0].startswith("general.name: `my tune (Phi-3)`")
    assert plan_conversion(checkpoint, "Q8_0", name="Phi-3 mini").name == "Phi-3 mini"
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    for entry in tokenizer["added_tokens"]:
        entry["rstrip"] = False
    write_json(checkpoint / "tokenizer.json", tokenizer)
    assert plan_conversion(checkpoint, "Q8_0").name == "my tune"
    assert plan_conversion(checkpoint, "Q8_0", name="Phi-3 mini").name == "Phi 3 mini"


@pytest.mark.parametrize(
    ("single", "config", "expected"),
    [
        ("A", {}, {}),
        ("A", {"add_bos_token": True, "add_eos_token": False}, {"bos": True, "eos": False}),
        ("sA", {}, {"bos": True}),
        ("sA", {"add_bos_token": False}, {"bos": True}),
        ("sAs", {}, {"bos": True, "eos": True}),
        ("As", {}, {"eos": True}),
    ],
)
def test_what_is_put_around_a_text(single: str, config: dict, expected: dict, checkpoint: Path) -> None:
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    parts = {"A": {"Sequence": {"id": "A", "type_id": 0}}, "s": {"SpecialToken": {"id": "<s>", "type_id": 0}}}
    tokenizer["post_processor"]["single"] = [parts[letter] for letter in single]
    write_json(checkpoint / "tokenizer.json", tokenizer)
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings = {key: value for key, value in settings.items() if not key.startswith("add_")}
    write_json(checkpoint / "tokenizer_config.json", settings | config)
    found = vocabulary_keys(checkpoint)
    words = {word: found.get(f"tokenizer.ggml.add_{word}_token") for word in ("bos", "eos")}
    assert {word: value for word, value in words.items() if value is not None} == expected


def edit(change):
    def spoil(folder: Path, _pieces: list[str]) -> None:
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        change(tokenizer)
        write_json(folder / "tokenizer.json", tokenizer)

    return spoil


def model(content: bytes):
    return lambda folder, _pieces: (folder / "tokenizer.model").write_bytes(content)


def remodel(*, drop_json: bool = True, **fields: int):
    def spoil(folder: Path, pieces: list[str]) -> None:
        (folder / "tokenizer.model").write_bytes(phi3.tokenizer_model(pieces, **fields))
        if drop_json:
            (folder / "tokenizer.json").unlink()

    return spoil


def drop_merge(tokenizer: dict) -> None:
    tokenizer["model"]["merges"].pop(20)


def swap_merges(tokenizer: dict) -> None:
    merges = tokenizer["model"]["merges"]
    merges[3], merges[200] = merges[200], merges[3]


PIECE = b"\x0a\x01a\x15" + struct.pack("<f", 0.0)
SPOILED = {
    "no pieces": (model(b""), errors.CheckpointError, "no pieces"),
    "text": (model(b"hello"), errors.CheckpointError, "no SentencePiece model"),
    "cut off": (model(b"\x0a\x50abc"), errors.CheckpointError, "no SentencePiece model"),
    "endless number": (model(b"\xff" * 40), errors.CheckpointError, "no SentencePiece model"),
    "a group": (model(b"\x0b\x0c"), errors.CheckpointError, "no SentencePiece model"),
    "a number for a piece": (model(b"\x08\x01"), errors.CheckpointError, "no SentencePiece model"),
    "no UTF-8": (
        lambda folder, pieces: (folder / "tokenizer.model").write_bytes(
            phi3.tokenizer_model(pieces).replace("▁t".encode(), b"\xff\xfe\xfd\xfc", 1)
        ),
        errors.CheckpointError,
        "no SentencePiece model",
    ),
    "score is NaN": (
        lambda folder, pieces: (folder / "tokenizer.model").write_bytes(
            phi3.tokenizer_model(pieces).replace(struct.pack("<f", -7.0), struct.pack("<f", float("nan")), 1)
        ),
        errors.CheckpointError,
        "no SentencePiece model",
    ),
    "unigram": (model(b"\x0a\x08" + PIECE), errors.UnsupportedCheckpointError, "no BPE model"),
    "extra spaces removed": (remodel(f4=1), errors.UnsupportedCheckpointError, "removes extra spaces"),
    "no space before a text": (remodel(f3=0), errors.UnsupportedCheckpointError, "no space before"),
    "spaces as they are": (remodel(f5=0), errors.UnsupportedCheckpointError, "U\\+2581"),
    "a merge too few": (edit(drop_merge), errors.UnsupportedCheckpointError, "lacks a merge"),
    "merges in another order": (edit(swap_merges), errors.UnsupportedCheckpointError, "order of the scores"),
    "other normalizer": (
        edit(lambda t: t["normalizer"]["normalizers"].append({"type": "NFC"})),
        errors.UnsupportedCheckpointError,
        "normalizer is not Phi-3's",
    ),
    "Metaspace": (
        edit(lambda t: t.update(pre_tokenizer={"type": "Metaspace", "prepend_scheme": "first"})),
        errors.UnsupportedCheckpointError,
        "cuts text",
    ),
    "other ids": (
        edit(lambda t: t["model"]["vocab"].update({"<0x00>": 4, "<0x01>": 3})),
        errors.CheckpointError,
        "another id than in tokenizer.model",
    ),
    "two tokens before a text": (
        edit(lambda t: t["post_processor"].update(single=[{"SpecialToken": {}}, {"SpecialToken": {}}])),
        errors.UnsupportedCheckpointError,
        "several tokens",
    ),
    "template of texts": (
        edit(lambda t: t["post_processor"].update(single=["A"])),
        errors.UnsupportedCheckpointError,
        "several tokens",
    ),
    "added token beyond the vocabulary": (
        edit(lambda t: t["added_tokens"][-1].update(id=10**6)),
        errors.CheckpointError,
        "has the id 1000000",
    ),
    "added token behind a hole": (
        edit(lambda t: t["added_tokens"].pop(4)),
        errors.CheckpointError,
        "has two ids: it says",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_other_vocabularies_are_refused(name: str, checkpoint: Path, pieces: list[str]) -> None:
    spoil, error, says = SPOILED[name]
    spoil(checkpoint, pieces)
    with pytest.raises(error, match=says) as caught:
        plan_conversion(checkpoint, "Q8_0")
    assert str(checkpoint) in str(caught.value)
    assert caught.value.hint


def test_every_cut_of_a_model_file_is_refused(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    whole = (checkpoint / "tokenizer.model").read_bytes()
    for length in (*range(200), *range(200, len(whole), 97), len(whole) - 1):
        (checkpoint / "tokenizer.model").write_bytes(whole[:length])
        with pytest.raises((errors.CheckpointError, errors.UnsupportedCheckpointError)):
            plan_conversion(checkpoint, "Q8_0")


def test_the_file_is_a_phi3_file_for_the_gguf_package(checkpoint: Path, tmp_path: Path) -> None:
    convert_checkpoint(checkpoint, tmp_path / "m.gguf", "Q8_0")
    fields = gguf.GGUFReader(tmp_path / "m.gguf").fields
    assert fields["phi3.attention.sliding_window"].contents() == 2047
    scores = fields["tokenizer.ggml.scores"]
    assert scores.types == [gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.FLOAT32]
