"""A reasoning model's thoughts are shown dimmed, folded into one line, or hidden."""

import re

import pyte
import pytest

from phi4local.cli.thoughts import Thoughts


def thoughts(mode, columns=40, colour=False):
    return Thoughts(mode, columns=lambda: columns, colour=colour)


def on_screen(text, columns=40):
    """Return the lines that a terminal shows."""
    screen = pyte.Screen(columns, 10)
    pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


def test_folded_thoughts_are_one_line_that_counts_and_then_says_how_many_words_there_were():
    folded = thoughts("fold")
    written = folded.feed("one two ") + folded.feed("three")
    assert on_screen(written) == ["thinking… 3 words"]
    (line,) = on_screen(written + folded.finish(), 80)
    assert re.fullmatch(r"thought for \d+ s, 3 words \(/think show\)", line)


def test_shown_thoughts_stand_in_full_and_break_between_words():
    shown = thoughts("show", columns=10)
    assert on_screen(shown.feed("one two th") + shown.feed("ree") + shown.finish(), 10) == [
        "one two",
        "three",
    ]


def test_hidden_thoughts_write_nothing():
    hidden = thoughts("hide", colour=True)
    assert hidden.feed("one") + hidden.finish() == ""


@pytest.mark.parametrize("mode", ["show", "fold", "hide"])
def test_without_thoughts_nothing_is_said_and_they_end_once(mode):
    one = thoughts(mode)
    assert one.finish() == ""
    one.feed("a ")
    one.finish()
    assert one.finish() == ""


@pytest.mark.parametrize("mode", ["show", "fold"])
def test_dimming_begins_and_ends_with_every_piece_and_is_absent_without_colour(mode):
    dim, plain = thoughts(mode, colour=True), thoughts(mode)
    for piece in ("one two ", "three "):
        written = dim.feed(piece)
        assert (written.count("\x1b[2m"), written.count("\x1b[0m")) == (1, 1)
        assert written.endswith("\x1b[0m")
        assert "\x1b[2m" not in plain.feed(piece)
    assert "\x1b[2m" not in plain.finish()


def test_a_control_character_in_a_thought_is_written_out():
    shown = thoughts("show")
    assert on_screen(shown.feed("a\x1b[2Jb ") + shown.finish()) == [r"a\x1b[2Jb"]
