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
        (["狐狸住在", "森林里。它很好"], 8, "狐狸住在\n森林里。\n它很好"),
        (["彼は「はい", "」と言った"], 10, "彼は「は\nい」と言っ\nた"),
        (["see 狐狸。fox"], 8, "see 狐\n狸。fox"),
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


def test_chinese_appears_as_it_comes_and_not_at_the_end_of_its_line():
    wrap = WordWrap(80)
    assert [wrap.feed(part) for part in ("狐", "狸住", "在")] == ["", "狐狸", "住"]


@given(st.lists(st.text("漢字。「」ァa", max_size=8), max_size=12), st.integers(4, 12))
def test_wide_characters_keep_their_order_and_no_line_begins_with_a_closing_mark(parts, columns):
    text, shown = "".join(parts), wrapped(parts, columns)
    assert shown.replace("\n", "") == text
    assert not any(line.startswith(("。", "」", "ァ")) for line in shown.split("\n")[1:])


def test_a_line_that_is_just_full_is_not_followed_by_an_empty_one():
    assert wrapped(["abcd efg"], 4) == "abcd\nefg"
