"""No text of a model, person or file can steer the terminal."""

import pytest

from phi4local.cli.text import visible


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
