"""Streamed text breaks between words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phi4local.cli.wrap import WordWrap


def wrapped(parts, columns):
    wrap = WordWrap(columns)
    return "".join(wrap.feed(part) for part in parts) + wrap.finish()


@pytest.mark.parametrize(
    ("parts", "columns", "shown"),
    [
        (["one two th", "ree"], 10, "one two\nthree"),
        (["one ", "two"], 10, "one two"),
        (["a\nb c"], 3, "a\nb c"),
        (["abcdefghij k"], 4, "abcdefghij\nk"),
        (["漢字 漢字 漢字"], 6, "漢字\n漢字\n漢字"),
        (["  x", "\n\n  y"], 20, "  x\n\n  y"),
    ],
)
def test_a_line_ends_between_words(parts, columns, shown):
    assert wrapped(parts, columns) == shown


@given(st.lists(st.text("ab \n", max_size=8), max_size=12), st.integers(2, 12))
def test_words_keep_their_order_and_lines_their_length(parts, columns):
    text, shown = "".join(parts), wrapped(parts, columns)
    assert shown.split() == text.split()
    assert shown.count("\n") >= text.count("\n")
    for line in shown.split("\n"):
        assert len(line) <= columns or len(line.split()) == 1


def test_a_line_that_is_just_full_is_not_followed_by_an_empty_one():
    assert wrapped(["abcd efg"], 4) == "abcd\nefg"
