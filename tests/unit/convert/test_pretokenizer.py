"""The pre-tokenizer by its expression, and the proof: llama.cpp's ids equal those of `tokenizers`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers, trainers

from phi4local.convert import convert_checkpoint
from phi4local.convert.pretokenizer import CL100K, O200K, recognise
from phi4local.errors import CheckpointError, UnsupportedCheckpointError
from tests.random_checkpoint import (
    NANO,
    SPECIAL_TOKENS,
    Size,
    config,
    shapes,
    stored,
    write_json,
    write_random_checkpoint,
    write_weights,
)

PATH = Path("tokenizer.json")


def byte_level(*, use_regex: bool = False) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def split(expression: str, behavior: str = "Removed", *, invert: bool = True) -> dict:
    return {"type": "Split", "pattern": {"Regex": expression}, "behavior": behavior, "invert": invert}


def sequence(*steps: object) -> dict:
    return {"type": "Sequence", "pretokenizers": list(steps)}


DIGITS = {"type": "Digits", "individual_digits": True}
KNOWN = {
    "dbrx": sequence(split(CL100K), byte_level()),
    "gpt-4o": sequence(split(O200K, "Isolated", invert=False), byte_level()),
    "smollm": sequence(DIGITS, byte_level(use_regex=True)),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_ones(name: str) -> None:
    assert recognise(KNOWN[name], PATH) == name


@pytest.mark.parametrize(
    "unknown",
    [
        sequence(split(r"\w+"), byte_level()),
        sequence(split(CL100K, "Isolated"), byte_level()),
        sequence(split(CL100K), byte_level() | {"add_prefix_space": True}),
        sequence(split(CL100K), byte_level(use_regex=True)),
        sequence(
            {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": True}, byte_level()
        ),
        sequence({"type": "Split"}, byte_level()),
        sequence(DIGITS | {"individual_digits": False}, byte_level(use_regex=True)),
        sequence(byte_level(use_regex=True)),
        byte_level(use_regex=True),
        {"type": "Metaspace"},
        {},
    ],
)
def test_others_are_refused_and_shown(unknown: dict) -> None:
    with pytest.raises(UnsupportedCheckpointError, match="pre-tokenizer is not one of"):
        recognise(unknown, PATH)


def test_the_message_shows_the_expression() -> None:
    with pytest.raises(UnsupportedCheckpointError, match=r"tokenizer\.json.*one two"):
        recognise(sequence(split("one two"), byte_level()), PATH)


@pytest.mark.parametrize("absent", [None, [], "Split", sequence(), sequence(None), {"type": "Sequence"}])
def test_no_pretokenizer_at_all(absent: object) -> None:
    with pytest.raises(CheckpointError):
        recognise(absent, PATH)


TEXTS = [
    "Hello, world! It's 12345 o'clock; WE'LL see 3.14159.",
    "camelCaseWords AndHTTPServer über-Straße naïve",
    "ÉCOLE",
    "e\u0301",
    "  leading\n\n\ttabs \r\n and trailing   ",
    "日本語のテキスト 漢字123 한국어 русский текст العربية",
    "🙂👍🏽 é \u00a0 \u200b … — “quotes”",
    "x=1;y==2&&z!=3 //comment\n/*block*/ path/to/file.txt",
    "a" * 50 + " " * 20 + "1" * 20,
    "don't CAN'T I'm you'RE they've we'd",
    "<not special> [brackets] {braces} 100% $5.00 #tag @user",
    "",
    "\n",
]

# llama.cpp rewrites the o200k expression for its own matcher: every letter but A-Z counts as a small one, and
# a combining accent belongs to no word (LLAMA_VOCAB_PRE_TYPE_GPT4O in src/llama-vocab.cpp).
CUT_DIFFERENTLY = {"gpt-4o": ["ÉCOLE", "e\u0301"]}

LLAMA_TOKENIZE = """
import ctypes, json, sys, llama_cpp as l
parameters = l.llama_model_default_params()
parameters.vocab_only = True
model = l.llama_model_load_from_file(sys.argv[1].encode(), parameters)
vocabulary = l.llama_model_get_vocab(model)
found = []
for text in json.loads(sys.stdin.read()):
    data = text.encode()
    ids = (l.llama_token * (len(data) + 8))()
    count = l.llama_tokenize(vocabulary, data, len(data), ids, len(ids), True, False)
    found.append(list(ids[:count]))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    card = (NANO / "MODEL_CARD.md").read_text(encoding="utf-8")
    return [text for text in (*TEXTS, *card.split("\n\n")) if "<|" not in text]


@pytest.mark.parametrize("name", KNOWN)
def test_llama_cpp_tokenizes_the_same(name: str, texts: list[str], tmp_path: Path) -> None:
    """Train a vocabulary with this pre-tokenizer, so that its merges cross no border, and compare ids."""
    folder = write_random_checkpoint(tmp_path / "checkpoint")
    trained = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    trained |= {"pre_tokenizer": KNOWN[name], "added_tokens": []}
    tokenizer = Tokenizer.from_str(json.dumps(trained))
    tokenizer.train_from_iterator(
        [*texts * 3, *CUT_DIFFERENTLY["gpt-4o"] * 50],
        trainers.BpeTrainer(
            vocab_size=1500,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[],
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer.save(str(folder / "tokenizer.json"))
    count = tokenizer.get_vocab_size()
    write_json(folder / "config.json", config(Size(), count))
    weights = {key: stored(np.zeros(shape), "BF16") for key, shape in shapes(Size(), count).items()}
    write_weights(folder, weights, "BF16")
    convert_checkpoint(folder, tmp_path / "model.gguf", "Q8_0")
    done = subprocess.run(
        [sys.executable, "-c", LLAMA_TOKENIZE, str(tmp_path / "model.gguf")],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    found = json.loads(done.stdout)
    different = [text for text, theirs, ours in zip(texts, found, expected, strict=True) if theirs != ours]
    assert different == CUT_DIFFERENTLY.get(name, [])
    assert max(map(max, filter(None, expected))) > 256  # merges took place
