"""llama.cpp with our file gives the ids of `tokenizers`: Phi-4's and Phi-4-mini's real vocabularies.

A sample by default; 200,000 tokens of each with `--full`. The text is the standard library's source, Python's
list of the world's alphabets, and sentences in many languages.
"""

from __future__ import annotations

import itertools
import json
import sysconfig
import unicodedata
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from phi4local.gguf import validate
from phi4local.native.llama import NativeModel
from phi4local.runtime.facts import file_facts
from tests.llama_tokenizer import llama_ids
from tests.random_checkpoint import NANO

TEXTS = [
    "Hello, world! It's 12345 o'clock; WE'LL see 3.14159.",
    "camelCaseWords AndHTTPServer over-the-top naïve façade Straße",
    "  leading\n\n\ttabs \r\n and trailing   ",
    "日本語のテキスト 漢字123 한국어 русский текст العربية עברית",
    "🙂👍🏽👨\u200d👩\u200d👧 \u00a0 \u200b … — “quotes” ½ ² №",
    "x=1;y==2&&z!=3 //comment\n/*block*/ path/to/file.txt\r\n",
    "a" * 50 + " " * 20 + "1" * 20,
    "don't CAN'T I'm you'RE they've we'd",
    "Żółć ÉCOLE Ünïcödé Ärzte",
]
CUT_DIFFERENTLY = ["हिन्दी में लिखा हुआ"]
"""Words with combining marks: llama.cpp's form of Phi-4-mini's expression cuts them at each one."""


@pytest.fixture(scope="module", params=["phi-4", "phi-4-mini"])
def model(request, real_vocabulary):
    """The name, the GGUF file, and the tokenizer without its added tokens and with them."""
    made = real_vocabulary(request.param)
    whole = json.loads((made.folder / "tokenizer.json").read_text(encoding="utf-8"))
    plain = Tokenizer.from_str(json.dumps(whole | {"added_tokens": []}))
    return made.name, made.gguf, plain, Tokenizer.from_str(json.dumps(whole)), whole["added_tokens"]


def corpus(tokenizer: Tokenizer, tokens: int) -> list[str]:
    """Return paragraphs of at least so many tokens together."""
    card = (NANO / "MODEL_CARD.md").read_text(encoding="utf-8")
    library = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    sources = (path.read_text(encoding="utf-8", errors="replace") for path in library)
    scripts = ("".join(map(chr, range(first, first + 64))) for first in range(0xA0, 0x3000, 64))
    found, count = [*TEXTS, *CUT_DIFFERENTLY], 0
    for text in itertools.chain(card.split("\n\n"), scripts, (p for s in sources for p in s.split("\n\n"))):
        if text and "\ud800" not in text:
            found.append(text)
            count += len(tokenizer.encode(text, add_special_tokens=False).ids)
        if count >= tokens:
            return found
    raise AssertionError("not enough text")


def is_cut_differently(text: str) -> bool:
    """Return whether llama.cpp may cut `text` in another way than the o200k expression.

    Its own matcher takes every letter but A-Z for a small one, and knows no combining marks
    (LLAMA_VOCAB_PRE_TYPE_GPT4O in src/llama-vocab.cpp of llama.cpp 0c1e57098).
    """
    return any(
        unicodedata.category(mark) in ("Lu", "Lt", "Mn", "Mc", "Me") and not mark.isascii() for mark in text
    )


@pytest.mark.parametrize("tokens", [10_000, pytest.param(200_000, marks=pytest.mark.full)])
def test_text(model, tokens):
    name, output, plain, _, _ = model
    texts = corpus(plain, tokens)
    expected = [plain.encode(text, add_special_tokens=False).ids for text in texts]
    assert sum(map(len, expected)) >= tokens
    found = llama_ids(output, texts)
    different = [text for text, ours, theirs in zip(texts, found, expected, strict=True) if ours != theirs]
    if name == "phi-4":
        assert different == []
    else:
        assert all(is_cut_differently(text) for text in different)
        assert set(CUT_DIFFERENTLY) <= set(different)
        assert not set(TEXTS) & set(different)
        assert len(different) <= len(texts) / 20


MARKS = [
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "সমস্ত মানুষ স্বাধীনভাবে সমান মর্যাদা এবং অধিকার নিয়ে জন্মগ্রহণ করে।",
    "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்.",
    "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "يُولَدُ جَمِيعُ النَّاسِ أَحْرَارًا",
    "e\u0301cole, ÉCOLE, Żółć, ΑΘΗΝΑ, МОСКВА, CAFÉ's",  # noqa: RUF001
]
"""Sentences in scripts with combining marks, and words with accents and other capitals."""


@pytest.mark.parametrize("tokens", [10_000, pytest.param(200_000, marks=pytest.mark.full)])
def test_text_in_the_engine(model, tokens):
    """The engine loads a file of Phi-4-mini, whoever made it, so that marks stay with their letters."""
    _, output, plain, _, _ = model
    file = file_facts(validate(output)).model_file()
    texts = [*MARKS, *corpus(plain, tokens)]
    native = NativeModel(output, pre_tokenizer=file.pre_tokenizer)
    try:
        found = [native.tokenize(text, special=False) for text in texts]
    finally:
        native.close()
    expected = [plain.encode(text, add_special_tokens=False).ids for text in texts]
    different = [text for text, ours, theirs in zip(texts, found, expected, strict=True) if ours != theirs]
    assert different == []


def test_every_special_token(model):
    """Alone, inside of text, and beside white space, which phi4local's prompts strip where Phi-4 does."""
    _, output, _, whole, added = model
    names = [entry["content"] for entry in added]
    texts = [template.format(token) for token in names for template in ("{}", "a{}b", "{0}{0}", "Hi.{}")]
    found = llama_ids(output, texts, special=True)
    assert found == [whole.encode(text, add_special_tokens=False).ids for text in texts]
    ids = [entry["id"] for entry in added]
    assert [ids[0] for ids in found[::4]] == ids
    assert all(len(one) == 1 for one in found[::4])


def test_a_typed_special_token_is_plain_text(model):
    _, output, plain, _, added = model
    special = {entry["id"] for entry in added}
    texts = [f"say {entry['content']} now" for entry in added]
    found = llama_ids(output, texts)
    assert not special.intersection(token for ids in found for token in ids)
    assert found == [plain.encode(text, add_special_tokens=False).ids for text in texts]
