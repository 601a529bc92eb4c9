"""Ids of segments against ids that transformers gives to the same messages."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phi4local import catalog
from phi4local.messages import Message

CONTROL = re.compile(r"<\|[a-z_]+[0-9]*\|>|</?think>")
MAKER = Path(__file__).parents[2] / "golden" / "make_prompts.py"
MINI_NAMES = tuple(
    (f"<|dummy_{20 + i}|>", name)
    for i, name in enumerate(["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<think>", "</think>"])
)

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
spaced = st.text(st.sampled_from(list(" \t\n\r\x0b\x1c\x85\xa0\u200b\u2003\u3000aZé1.'東")), max_size=12)
roles = st.sampled_from(["system", "user", "assistant"])
conversation = st.lists(
    st.builds(Message, roles, (anything | spaced).filter(lambda s: not CONTROL.search(s))),
    min_size=1,
    max_size=6,
)


def as_dicts(messages):
    return [{"role": message.role, "content": message.content} for message in messages]


@pytest.fixture(scope="module")
def transformers_tokenizer():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what transformers says while it is imported without torch
        transformers = pytest.importorskip("transformers")
    return transformers.AutoTokenizer.from_pretrained(catalog.find("phi4-nano").checkpoint_folder())


def test_every_stored_text_is_rendered_byte_for_byte(golden, templates, conversations):
    for entry in golden["prompts"]:
        messages = conversations[entry["conversation"]]
        text = templates[entry["template"]].render(messages, add_generation_prompt=entry["open"])
        assert text.encode() == entry["text"].encode(), entry


def test_segments_of_the_stored_conversations_have_the_stored_ids(golden, templates, conversations, oracle):
    checked = 0
    for entry in golden["prompts"]:
        if "ids" in entry:
            prompt = templates[entry["template"]].segments(
                conversations[entry["conversation"]],
                add_generation_prompt=entry["open"],
                strip_whitespace=True,
            )
            assert oracle.segment_ids(prompt.segments) == entry["ids"], entry["conversation"]
            checked += 1
    assert checked == 24


@pytest.mark.parametrize("strip", [True, False])
def test_segments_of_all_templates_have_the_ids_of_their_text(
    golden, templates, conversations, oracle_of, strip
):
    oracle = oracle_of(strip=strip, renamed=MINI_NAMES)
    for entry in golden["prompts"]:
        if entry["conversation"] in ("typed control tokens", "markup in a message"):
            continue
        prompt = templates[entry["template"]].segments(
            conversations[entry["conversation"]], add_generation_prompt=entry["open"], strip_whitespace=strip
        )
        assert oracle.segment_ids(prompt.segments) == oracle.transformers_ids(entry["text"]), entry


def test_the_ten_prompts_of_the_model_card_have_their_ids(phi4, oracle):
    folder = catalog.find("phi4-nano").checkpoint_folder()
    expected = json.loads((folder / "expected-greedy.json").read_text("utf-8"))["greedy"]
    assert len(expected) == 10
    for example in expected:
        messages = [Message(m["role"], m["content"]) for m in example["messages"]]
        assert phi4.render(messages) == example["prompt"]
        assert (
            oracle.segment_ids(phi4.segments(messages, strip_whitespace=True).segments)
            == example["prompt_ids"]
        )


def check_conversation(template, oracle, tokenizer, messages, opened):
    prompt = template.segments(messages, add_generation_prompt=opened, strip_whitespace=True)
    options = {"add_generation_prompt": opened}
    text = tokenizer.apply_chat_template(as_dicts(messages), tokenize=False, **options)
    assert template.render(messages, add_generation_prompt=opened) == text
    expected = tokenizer.apply_chat_template(as_dicts(messages), tokenize=True, **options)["input_ids"]
    assert oracle.segment_ids(prompt.segments) == expected
    assert not prompt.altered
    assert prompt.dropped == ()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversation, opened=st.booleans())
def test_generated_conversations_have_the_ids_of_transformers(
    phi4, oracle, transformers_tokenizer, messages, opened
):
    check_conversation(phi4, oracle, transformers_tokenizer, messages, opened)


@pytest.mark.full
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversation, opened=st.booleans())
def test_five_thousand_generated_conversations_have_the_ids_of_transformers(
    phi4, oracle, transformers_tokenizer, messages, opened
):
    check_conversation(phi4, oracle, transformers_tokenizer, messages, opened)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversation, opened=st.booleans(), strip=st.booleans(), data=st.data())
def test_generated_conversations_have_the_ids_of_their_text_in_every_template(
    templates, oracle_of, messages, opened, strip, data
):
    template = templates[data.draw(st.sampled_from(sorted(templates)))]
    oracle = oracle_of(strip=strip, renamed=MINI_NAMES)
    prompt = template.segments(messages, add_generation_prompt=opened, strip_whitespace=strip)
    text = template.render(messages, add_generation_prompt=opened)
    assert oracle.segment_ids(prompt.segments) == oracle.transformers_ids(text)


def test_the_stored_file_is_what_transformers_renders_today(golden, transformers_tokenizer):
    spec = importlib.util.spec_from_file_location("make_prompts", MAKER)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert "transformers" in sys.modules
    assert json.loads(maker.as_text(maker.build())) == golden
