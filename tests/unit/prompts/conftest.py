"""An oracle for token ids that shares no code with phi4local: `tokenizers` with phi4-nano's files."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import tokenizers

from phi4local import catalog
from phi4local.messages import Message
from phi4local.prompts import ChatTemplate, Segment, TextSegment

GOLDEN = Path(__file__).parents[2] / "golden" / "prompts.json"


@dataclass(frozen=True)
class Oracle:
    """Three tokenizers with one vocabulary.

    `rendered` is what transformers uses: added tokens everywhere, white space beside them dropped.
    `special` is llama.cpp with special tokens on: added tokens everywhere, white space kept.
    `plain` is llama.cpp with special tokens off.
    """

    rendered: tokenizers.Tokenizer
    special: tokenizers.Tokenizer
    plain: tokenizers.Tokenizer
    added: dict[str, int]

    def transformers_ids(self, text: str) -> list[int]:
        return self.rendered.encode(text, add_special_tokens=False).ids

    def segment_ids(self, segments: tuple[Segment, ...]) -> list[int]:
        return [i for segment in segments for i in self.ids(segment)]

    def ids(self, segment: TextSegment) -> list[int]:
        tokenizer = self.special if segment.special else self.plain
        return tokenizer.encode(segment.text, add_special_tokens=False).ids


@functools.cache
def make_oracle(*, strip: bool = True, renamed: tuple[tuple[str, str], ...] = ()) -> Oracle:
    data = json.loads((catalog.find("phi4-nano").checkpoint_folder() / "tokenizer.json").read_text("utf-8"))
    for token in data["added_tokens"]:
        token["content"] = dict(renamed).get(token["content"], token["content"])
        token["lstrip"] = token["rstrip"] = strip
    keeping = copy.deepcopy(data)
    for token in keeping["added_tokens"]:
        token["lstrip"] = token["rstrip"] = False
    bare = {**data, "added_tokens": []}
    rendered, special, plain = (tokenizers.Tokenizer.from_str(json.dumps(d)) for d in (data, keeping, bare))
    return Oracle(rendered, special, plain, {t["content"]: t["id"] for t in data["added_tokens"]})


@pytest.fixture(scope="session")
def oracle() -> Oracle:
    return make_oracle()


@pytest.fixture(scope="session")
def oracle_of():
    """Make oracles whose tokens have other names, or whose tokens keep the white space beside them."""
    return make_oracle


@pytest.fixture(scope="session")
def golden() -> dict:
    return json.loads(GOLDEN.read_text("utf-8"))


@pytest.fixture(scope="session")
def phi4() -> ChatTemplate:
    return ChatTemplate(catalog.find("phi-4").chat_template)


@pytest.fixture(scope="session")
def conversations(golden) -> dict[str, list[Message]]:
    return {name: [Message(*turn) for turn in turns] for name, turns in golden["conversations"].items()}


@pytest.fixture(scope="session")
def templates(golden) -> dict[str, ChatTemplate]:
    tokens = {"bos_token": golden["bos_token"], "eos_token": golden["eos_token"]}
    return {name: ChatTemplate(source, **tokens) for name, source in golden["templates"].items()}
