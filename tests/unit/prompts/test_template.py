"""Rendering: the same text as transformers, clear refusals, honest notices."""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import datetime

import pytest

from phi4local import catalog
from phi4local.errors import ChatTemplateError
from phi4local.messages import Message
from phi4local.prompts import ChatTemplate, TextSegment

HI = [Message("user", "Hi")]


def test_the_time_of_day_is_the_one_of_this_machine():
    text = ChatTemplate("{{ strftime_now('%Y-%m-%d') }}").render(HI)
    assert abs((datetime.now() - datetime.strptime(text, "%Y-%m-%d")).days) <= 1


def test_a_clock_in_the_template_does_not_look_like_an_altered_message():
    template = ChatTemplate("{{ strftime_now('%f') }}{{ messages[0].content }}")
    assert not any(template.segments(HI, strip_whitespace=False).altered for _ in range(20))


def test_an_unset_bos_token_is_undefined_as_in_transformers():
    assert ChatTemplate("{{ bos_token is defined }}|{{ bos_token }}").render(HI) == "False|"


def test_no_messages_render_as_the_template_says(phi4):
    assert phi4.render([]) == "<|im_start|>assistant<|im_sep|>"
    assert phi4.segments([], strip_whitespace=True).segments == (
        TextSegment("<|im_start|>assistant<|im_sep|>", special=True),
    )


def test_the_first_upload_opens_a_turn_after_every_question_even_unasked():
    first = ChatTemplate(catalog.find("phi-4").known_templates[0])
    assert first.render(HI, add_generation_prompt=False).endswith("<|im_start|>assistant<|im_sep|>")


def test_a_message_that_the_template_leaves_out_is_reported(templates):
    prompt = templates["reasoning"].segments(
        [Message("system", "Be brief."), Message("user", "Hi")], strip_whitespace=True
    )
    assert prompt.dropped == (0,)
    assert "Be brief." not in "".join(segment.text for segment in prompt.segments)
    assert not prompt.altered


def test_a_template_that_changes_what_a_message_says_is_reported_and_the_message_kept_word_for_word():
    template = ChatTemplate("<|user|>{{ messages[0].content|upper }}<|end|>")
    prompt = template.segments(HI, strip_whitespace=False)
    assert prompt.altered
    assert [segment.text for segment in prompt.segments] == ["<|user|>", "Hi", "<|end|>"]


def test_a_template_that_looks_into_a_message_is_reported():
    template = ChatTemplate(
        "{% if 'secret' in messages[0].content %}<|evil|>{% endif %}{{ messages[0].content }}"
    )
    assert not template.segments(HI, strip_whitespace=False).altered
    assert template.segments([Message("user", "a secret")], strip_whitespace=False).altered


def test_a_template_that_trims_is_followed_without_a_notice():
    template = ChatTemplate("<|user|>\n{{ messages[0].content|trim }}\n<|end|>")
    prompt = template.segments([Message("user", " \n Hi\x1c\t")], strip_whitespace=False)
    assert not prompt.altered
    assert [segment.text for segment in prompt.segments] == ["<|user|>", "\nHi\n", "<|end|>"]


def test_a_template_that_skips_empty_messages_is_followed_without_a_notice():
    template = ChatTemplate(
        "{% for m in messages %}{% if m.content %}<|a|>{{ m.content }}{% endif %}{% endfor %}"
    )
    prompt = template.segments([Message("user", ""), *HI], strip_whitespace=False)
    assert not prompt.altered
    assert prompt.dropped == ()


def test_a_message_that_is_printed_twice_is_plain_twice():
    prompt = ChatTemplate("<|a|>{{ messages[0].content * 1 }}<|b|>{{ messages[0].content }}").segments(
        HI, strip_whitespace=False
    )
    assert [(s.text, s.special) for s in prompt.segments if not s.special] == [("Hi", False)] * 2


def test_origins_name_the_messages_that_are_segments_of_their_own(phi4):
    messages = [
        Message("system", " a "),
        Message("user", "b"),
        Message("assistant", "c"),
        Message("user", "d"),
    ]
    prompt = phi4.segments(messages, strip_whitespace=True)
    assert prompt.origins == (None, 0, None, 1, None, 2, None, 3, None)
    assert [prompt.segments[place].text for place in (1, 3, 5, 7)] == ["a", "b", "c", "d"]


def test_a_message_that_is_joined_with_template_text_is_no_segment_of_its_own():
    prompt = ChatTemplate("<|a|>I say {{ messages[0].content }}<|b|>\n{{ messages[0].content }}").segments(
        HI, strip_whitespace=False
    )
    assert prompt.origins == (None, None, None, None)


def test_segments_join_to_the_rendered_text(templates, conversations):
    for template in templates.values():
        for messages in conversations.values():
            prompt = template.segments(messages, strip_whitespace=False)
            assert "".join(segment.text for segment in prompt.segments) == template.render(messages)
            kinds = [segment.special for segment in prompt.segments]
            assert all(a != b for a, b in itertools.pairwise(kinds))
            assert all(segment.text for segment in prompt.segments)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% if %}", "line 1"),
        ("{{ messages[0].content", "end of print statement"),
        ("{% for m in messages %}", "endfor"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ messages[5].content }}", "no element 5"),
        ("{{ messages.foo.bar }}", "foo"),
        ("{{ messages + 1 }}", "can only concatenate"),
        ("{{ 'é'|nosuchfilter }}", "nosuchfilter"),
        ("{{ strftime_now() }}", "form"),
        ("{{ 1e999 }}", "inf"),
    ],
)
def test_a_broken_template_is_refused_with_its_cause_and_a_hint(source, words):
    with pytest.raises(ChatTemplateError, match=words) as caught:
        ChatTemplate(source).render(HI)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_template_that_refuses_the_messages_is_quoted():
    template = ChatTemplate(
        "{% if messages|length > 1 %}{{ raise_exception('only\n one message') }}{% endif %}ok"
    )
    assert template.render(HI) == "ok"
    with pytest.raises(ChatTemplateError, match="only one message"):
        template.segments([*HI, *HI], strip_whitespace=True)


def test_a_template_longer_than_64_kib_is_refused_unread():
    assert len(ChatTemplate("x" * 65_536).render(HI)) == 65_536
    with pytest.raises(ChatTemplateError, match="65,537 characters"):
        ChatTemplate("{" * 65_537)


def test_a_thousand_messages_and_ten_megabytes_are_within_the_budget(phi4):
    many = [Message("user" if i % 2 == 0 else "assistant", f"message {i} " * 20) for i in range(1000)]
    assert len(phi4.segments(many, strip_whitespace=True).segments) == 2001
    big = [Message("user", "x" * 10_000_000)]
    assert phi4.segments(big, strip_whitespace=True).segments[1].text == big[0].content


def test_importing_prompts_loads_no_jinja():
    code = "import sys, phi4local.prompts; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
