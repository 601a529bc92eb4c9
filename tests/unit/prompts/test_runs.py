"""Seams between template text and messages, and white space beside control tokens."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from phi4local.messages import Message
from phi4local.prompts import ChatTemplate, TextSegment
from phi4local.prompts.runs import WHITE_SPACE

START, SEPARATOR, END = "<|im_start|>", "<|im_sep|>", "<|im_end|>"
HI = [Message("user", "Hi")]


def shown(template: str, messages=HI, *, strip=False, **options):
    prompt = ChatTemplate(template).segments(messages, strip_whitespace=strip, **options)
    return [("special" if s.special else "plain", s.text) for s in prompt.segments]


def test_a_message_between_two_control_tokens_is_a_segment_of_its_own():
    assert shown("<|user|>{{ messages[0].content }}<|end|>") == [
        ("special", "<|user|>"),
        ("plain", "Hi"),
        ("special", "<|end|>"),
    ]


def test_template_text_beside_a_message_is_joined_with_it():
    assert shown("<|system|>You are Phi. {{ messages[0].content }}! Bye.<|end|>") == [
        ("special", "<|system|>"),
        ("plain", "You are Phi. Hi! Bye."),
        ("special", "<|end|>"),
    ]


def test_two_messages_without_a_control_token_between_them_are_one_segment():
    prompt = ChatTemplate("{% for m in messages %}{{ m.content }}\n\n{% endfor %}").segments(
        [Message("user", "a"), Message("assistant", "b")], strip_whitespace=False
    )
    assert prompt.segments == (TextSegment("a\n\nb\n\n", special=False),)
    assert prompt.origins == (None,)


def test_neighbouring_control_tokens_are_one_segment():
    assert shown("<|a|>role<|b|>{{ messages[0].content }}<|c|>\n<|d|>")[-1] == ("special", "<|c|>\n<|d|>")


def test_think_tags_s_tags_and_bracketed_names_are_control_tokens_by_their_shape():
    for token in ("<think>", "</think>", "<s>", "[INST]", "[/INST]", "<start_of_turn>", "[gMASK]"):
        assert shown(token + "{{ messages[0].content }}") == [("special", token), ("plain", "Hi")]


def test_the_bos_and_eos_of_a_template_are_control_tokens_whatever_their_shape():
    template = ChatTemplate(
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", bos_token="BOS", eos_token="§"
    )
    prompt = template.segments(HI, strip_whitespace=False)
    assert [s.special for s in prompt.segments] == [True, False, True]


def test_a_less_than_sign_in_template_text_is_no_control_token():
    assert shown("if a < b and c > d: {{ messages[0].content }}") == [("plain", "if a < b and c > d: Hi")]


def test_known_token_strings_count_instead_of_shapes():
    assert shown("<b>{{ messages[0].content }}§", token_strings=["§"]) == [
        ("plain", "<b>Hi"),
        ("special", "§"),
    ]
    assert shown("<b>{{ messages[0].content }}", token_strings=[]) == [("plain", "<b>Hi")]


def test_the_longest_of_two_token_strings_is_found():
    assert shown("§§{{ messages[0].content }}", token_strings=["§", "§§"], strip=True)[0] == ("special", "§§")


def test_white_space_beside_control_tokens_is_dropped_where_the_vocabulary_wants_it():
    template = "<|user|>\n{{ messages[0].content }} \n<|end|> \t<|assistant|>\n"
    messages = [Message("user", "\u00a0Hi \u3000")]
    assert shown(template, messages, strip=True) == [
        ("special", "<|user|>"),
        ("plain", "Hi"),
        ("special", "<|end|><|assistant|>"),
    ]
    assert (
        "".join(text for _, text in shown(template, messages))
        == "<|user|>\n\u00a0Hi \u3000 \n<|end|> \t<|assistant|>"
    )


def test_white_space_that_touches_no_control_token_stays():
    assert shown("  {{ messages[0].content }} \t", strip=True) == [("plain", "  Hi \t")]
    assert shown("{{ messages[0].content }}  <|end|>", [Message("user", "  Hi")], strip=True)[0] == (
        "plain",
        "  Hi",
    )


def test_white_space_inside_a_message_stays(phi4):
    prompt = phi4.segments([Message("user", "a  b\n\nc")], strip_whitespace=True)
    assert prompt.segments[1].text == "a  b\n\nc"


@pytest.mark.parametrize("content", ["", " ", "\n\n", " \u2003\t"])
def test_an_empty_message_leaves_no_segment(phi4, content):
    prompt = phi4.segments([Message("user", content)], strip_whitespace=True)
    assert prompt.segments == (
        TextSegment(f"{START}user{SEPARATOR}{END}{START}assistant{SEPARATOR}", special=True),
    )
    assert prompt.dropped == ()
    assert not prompt.altered


def check_white_space(oracle, phi4, characters):
    for start in range(0, len(characters), 500):
        messages = [
            message
            for c in characters[start : start + 500]
            for message in (Message("user", f"{c}{c}a{c}b{c}"), Message("assistant", c))
        ]
        prompt = phi4.segments(messages, strip_whitespace=True)
        assert oracle.segment_ids(prompt.segments) == oracle.transformers_ids(phi4.render(messages)), start


def test_every_separator_and_control_character_is_treated_as_transformers_treats_it(oracle, phi4):
    characters = [
        chr(i)
        for i in range(sys.maxunicode + 1)
        if unicodedata.category(chr(i)) in ("Zs", "Zl", "Zp", "Cc", "Cf")
    ]
    assert len(characters) > 200
    assert set(WHITE_SPACE) < set(characters)
    assert len(WHITE_SPACE) == 25
    check_white_space(oracle, phi4, characters)


@pytest.mark.full
def test_every_assigned_character_is_treated_as_transformers_treats_it(oracle, phi4):
    everything = map(chr, range(sys.maxunicode + 1))
    check_white_space(
        oracle, phi4, [c for c in everything if unicodedata.category(c) not in ("Cn", "Co", "Cs")]
    )
