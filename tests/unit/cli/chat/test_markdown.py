"""Markdown as it comes: a terminal emulator says what a person sees at the end."""

import itertools

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phi4local.cli.chat.markdown.stream import MarkdownStream

TEXT = """# Title

Some **bold** text and `code` in a rather long line of words which goes on and on until it wraps around.

- one
- two
  - three *times*

1. first
2. second

| name | value |
|------|------:|
| one  | 1     |
| two  | 22    |

> a quote
> of two lines

```python
def double(number):
    return number * 2  # more
```

日本語のテキスト, a [link](http://example.org) and **something that never ends

---
"""
HOSTILE = (
    "\x1b[2J\x1b]52;c;aGk=\x07 clear",
    "[/] [bold]not markup[/bold]",
    "```\nnever closed " + "x" * 500,
    "> " * 60 + "deep",
    "| a |\n|---|\n" + "| " + "y" * 300 + " |",
    "*" * 1000,
    "\r\rover\b\b\b",
    "- " * 80 + "nested",
    "\u202eright to left\u202c",
)


def screen_of(parts, columns, *, colour=True):
    """Return every line that a person could scroll back to."""
    screen = pyte.HistoryScreen(columns, 24, history=5000, ratio=0.0001)
    terminal = pyte.Stream(screen)
    drawn = MarkdownStream(columns=lambda: columns, colour=colour)
    for text in (*map(drawn.feed, parts), drawn.finish()):
        terminal.feed(text.replace("\n", "\r\n"))
    above = ["".join(row[place].data for place in range(columns)) for row in screen.history.top]
    return [line.rstrip() for line in (*above, *screen.display)]


def test_it_looks_like_a_page():
    lines = "\n".join(screen_of([TEXT], 60))
    for shown in ("Some bold text and code in", "• one", "  • three times", "1. first", "one  │     1"):
        assert shown in lines
    assert "│ a quote" in lines
    assert "def double(number):\n    return number * 2  # more" in lines  # to be copied as it is
    assert "link (http://example.org)" in lines
    assert "**something that never ends" in lines


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("colour", [True, False])
@settings(max_examples=15)
@given(cuts=st.sets(st.integers(1, 2 * len(TEXT) - 1)))
def test_however_the_text_comes_the_page_is_the_same(columns, colour, cuts):
    text = TEXT * 2
    places = [0, *sorted(cuts), len(text)]
    parts = [text[start:end] for start, end in itertools.pairwise(places)]
    assert screen_of(parts, columns, colour=colour) == screen_of([text], columns, colour=colour)


def test_the_first_character_is_shown_at_once():
    assert "T" in MarkdownStream(columns=lambda: 80, colour=True).feed("T")


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_steers_the_terminal_or_stops_the_answer(text):
    drawn = MarkdownStream(columns=lambda: 80, colour=False)
    written = "".join(drawn.feed(character) for character in text) + drawn.finish()
    for allowed in ("\x1b[K", "\x1b[J"):
        written = written.replace(allowed, "")
    left = {
        part[:6] for part in written.split("\x1b")[1:] if not part[1:].lstrip("0123456789").startswith("A")
    }
    assert left == set()  # only clearing to the end and going up are our own
    assert not set(written) & {"\x07", "\b", "\u202e", "\x9b"}


def test_another_width_in_the_middle_breaks_nothing():
    widths = iter([80, 20, 200, 3, 1, 40] * 1000)
    drawn = MarkdownStream(columns=lambda: next(widths), colour=True)
    assert "".join(drawn.feed(TEXT[place : place + 7]) for place in range(0, len(TEXT), 7)) + drawn.finish()
