"""No text of a model, person or file can steer the terminal."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.cli.text import VisibleStream, json_visible, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 👩‍👩‍👧 \t", "plain é 漢 👩‍👩‍👧 \t"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x1b]52;c;YQ==\x07", "\\x1b]52;c;YQ==\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\x08\x7f", "a\\x0db\\x08\\x7f"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_control_characters_are_written_out(text, shown):
    assert visible(text) == shown


def test_line_feeds_stay_where_lines_are_wanted():
    assert visible("a\nb\x1b", keep_lines=True) == "a\nb\\x1b"


def test_every_control_character_is_covered():
    for code in [*range(9), *range(11, 32), *range(127, 160)]:
        assert chr(code) not in visible(chr(code))


ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u061c\u206a", "\\u061c\\u206a"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\ufff9a\ufffab\ufffb", "\\ufff9a\\ufffab\\ufffb"),
        ("hi\U000e0041", "hi\\U000e0041"),
        (ENGLAND, ENGLAND),
        (ENGLAND[:-1], "\U0001f3f4" + "".join(f"\\U{ord(tag):08x}" for tag in ENGLAND[1:-1])),
        ("葛\U000e0100", "葛\U000e0100"),
        ("a\U000e0100", "a\\U000e0100"),
        ("葛\U000e0100\U000e0101", "葛\U000e0100\\U000e0101"),
        ("❤\ufe0f \u200c\u200d\u200b\u00ad\ufeff", "❤\ufe0f \u200c\u200d\u200b\u00ad\ufeff"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "caf\\xe9"),
        ("\ud83d", "\\ud83d"),
    ],
)
def test_marks_that_hide_or_reorder_are_written_out_and_those_that_scripts_need_stay(text, shown):
    assert visible(text) == shown


def test_the_line_ends_of_windows_are_line_ends():
    assert visible("a\r\nb\rc", keep_lines=True) == "a\nb\\x0dc"


@given(
    st.lists(
        st.text(
            st.sampled_from([*"ab\n\r\x1b", *ENGLAND, "葛", "\U000e0100", "\u202e", "\U0001f600"]), max_size=8
        ),
        max_size=6,
    )
)
def test_text_in_pieces_is_shown_like_the_whole(parts):
    stream = VisibleStream()
    shown = "".join(map(stream.feed, parts)) + stream.finish()
    assert shown == visible("".join(parts), keep_lines=True)


@given(st.text())
def test_json_that_is_made_safe_means_the_same(text):
    made = json_visible(json.dumps([text], ensure_ascii=False))
    assert json.loads(made) == [text]
    assert visible(made) == made
