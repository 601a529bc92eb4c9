"""Markdown of any kind, divided anywhere: every cell that a person can scroll back to."""

import itertools
import re

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from phi4local.cli.chat.markdown.stream import MarkdownStream

REPLY = (
    "# Sorting\n\nThe **built-in** `sorted` is *stable*, see [the documentation](https://docs.python.org/3/) "
    "for details of ~~everything~~ that it does.\nSecond line.\n\n"
    '```python\ndef merge(left, right):\n    """Two\n    lines."""\n    return left + right  # never '
    "sorted, but this comment is longer than forty and longer than eighty columns are\n\n```\n\n"
    "1. First step\n2. Second step\n   - nested **bold** text that is long enough to be broken\n"
    "     - third\n\n> A quote that is long enough to be broken, with a bar on each of its rows.\n\n"
    "| Algorithm | Worst | Notes |\n|:---|---:|:-:|\n| Timsort | n log n | **fast** on runs |\n"
    "| Quick\\|sort | n² | 漢字 in place |\n\n---\n\nAn end \\(x_1\\) with 漢字 and 👍.\n"
)
SIZES = pytest.mark.parametrize("columns", [40, 80, 200])


class Terminal:
    """A terminal emulator of 24 rows that keeps what scrolls away."""

    def __init__(self, columns, rows=24):
        self.screen = pyte.HistoryScreen(columns, rows, history=100_000, ratio=0.5)
        self.screen.set_mode(pyte.modes.LNM)
        self.stream = pyte.Stream(self.screen)

    def write(self, text):
        self.stream.feed(text)

    def cells(self):
        """Every cell since the beginning, with its looks; blank ends of rows left out."""
        rows = [*self.screen.history.top, *(self.screen.buffer[y] for y in range(self.screen.lines))]
        drawn = []
        for line in rows:
            row = [line[x] for x in range(self.screen.columns)]
            while row and row[-1].data == " ":
                row.pop()
            drawn.append(tuple(row))
        while drawn and not drawn[-1]:
            drawn.pop()
        return drawn

    def lines(self):
        return ["".join(cell.data for cell in row) for row in self.cells()]


def shown(pieces, columns, *, colour=True):
    terminal = Terminal(columns)
    stream = MarkdownStream(columns=lambda: columns, colour=colour)
    for piece in pieces:
        terminal.write(stream.feed(piece))
    terminal.write(stream.finish())
    return terminal


def divided(text, places):
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def find(terminal, text):
    """Return the cells of the first row part that shows `text`."""
    for row in terminal.cells():
        line = [cell.data for cell in row]
        for start in range(len(line)):
            if "".join(line[start : start + len(text)]) == text:
                return row[start : start + len(text)]
    raise AssertionError(f"{text!r} is not on the screen: {terminal.lines()}")


@SIZES
@pytest.mark.parametrize("colour", [True, False])
def test_one_character_at_a_time_shows_the_same_as_all_at_once(columns, colour):
    assert shown(REPLY, columns, colour=colour).cells() == shown([REPLY], columns, colour=colour).cells()


@given(places=st.lists(st.integers(0, 10_000), max_size=60), columns=st.sampled_from([40, 80, 200]))
@settings(max_examples=15)
def test_reply_divided_anywhere_shows_the_same(places, columns):
    assert shown(divided(REPLY, places), columns).cells() == shown([REPLY], columns).cells()


PARTS = [
    *(
        "word ",
        "longer-word ",
        "**",
        "*",
        "`",
        "```\n",
        "```python\n",
        "\n",
        "\n\n",
        "# ",
        "- ",
        "  - ",
        "12. ",
    ),
    *(
        "| a | b |\n",
        "|---|--:|\n",
        "| cell | **x** |\n",
        "> ",
        "[a](http://b.c)",
        "---\n",
        "    ",
        "漢字",
        "é",
    ),
    *(
        "x" * 130,
        "many words " * 30,
        "\\(",
        "\\)",
        "&#x202e;",
        "\x1b[2J",
        "~~",
        "~~~\n",
        "\t",
        "==\n",
        "<br>",
        "|",
    ),
    *("wide 漢字 cells ", "https://example.org/" + "a" * 60, "$$", "! ", "\\", "  \n"),
]


@given(
    parts=st.lists(st.sampled_from(PARTS), max_size=40),
    places=st.lists(st.integers(0, 10_000), max_size=30),
    columns=st.sampled_from([12, 40, 80, 200]),
    colour=st.booleans(),
)
@settings(max_examples=60)
@example(
    parts=["| a | b |\n", "|---|--:|\n", *["| cell | **x** |\n"] * 40], places=[], columns=40, colour=True
)
@example(parts=["**", "many words " * 100, "**"], places=[], columns=80, colour=True)
@example(parts=["- ", "x" * 3000], places=[], columns=40, colour=True)
def test_any_markdown_divided_anywhere_shows_the_same(parts, places, columns, colour):
    text = "".join(parts)
    once = shown([text], columns, colour=colour).cells()
    assert shown(divided(text, places), columns, colour=colour).cells() == once
    assert shown(divided(text, range(0, len(text), 4)), columns, colour=colour).cells() == once


@SIZES
def test_a_long_reply_is_in_the_scroll_back_exactly_once(columns):
    words = [f"w{number}" for number in range(900)]
    text = ""
    for start in range(0, 900, 30):
        some = words[start : start + 30]
        text += f"## {some[0]}\n\n{' '.join(some[1:9])} **{' '.join(some[9:15])}**\n\n"
        text += f"```python\n{some[15]} = 1\n```\n"
        text += f"\n| {some[16]} | {some[17]} |\n|---|---|\n"
        text += "".join(f"| {some[row]} | {some[row + 1]} |\n" for row in range(18, 30, 2)) + "\n"
    found = re.findall(r"w\d+", "\n".join(shown(divided(text, range(0, len(text), 4)), columns).lines()))
    assert found == words


@SIZES
def test_no_row_is_broken_by_the_terminal_but_code_and_addresses(columns):
    stream = MarkdownStream(columns=lambda: columns, colour=False)
    text = re.sub(r"```.*?```\n", "", REPLY, flags=re.DOTALL)
    written = stream.feed(text) + stream.finish()
    assert all(len(line) <= columns for line in written.split("\n"))


def test_styles_of_emphasis_headings_and_code():
    terminal = shown([REPLY], 80)
    assert all(cell.bold and cell.underscore for cell in find(terminal, "Sorting"))
    assert all(cell.bold for cell in find(terminal, "built-in"))
    assert all(cell.fg == "cyan" for cell in find(terminal, "sorted"))
    assert all(cell.italics for cell in find(terminal, "stable"))
    assert all(cell.strikethrough for cell in find(terminal, "everything"))
    assert all(cell.fg == "magenta" for cell in find(terminal, "def"))
    assert all(cell.fg == "green" for cell in find(terminal, '"""Two'))
    assert all(cell.fg == "green" for cell in find(terminal, 'lines."""'))  # the string began a line before


def test_code_lines_are_written_as_they_are():
    code = "if x:\n\treturn  'a | b'  \n\n    # **no** `marks`" + " and more" * 30
    stream = MarkdownStream(columns=lambda: 40, colour=False)
    written = "".join(map(stream.feed, f"```c\n{code}\n```\n")) + stream.finish()
    assert code in re.sub(r"\r\x1b\[J", "", written)


@SIZES
def test_table_is_aligned_and_fits(columns):
    wide = (
        "| Name | Amount | Words |\n|---|--:|---|\n| a | 1 | "
        + "many words " * 30
        + "|\n| b漢 | 22 | few |\n"
    )
    lines = shown([wide], columns).lines()
    assert all(len(line) <= columns for line in lines)
    if columns > 40:
        assert re.match(r"a   +│ +1 │ many words", lines[2])
        assert re.match(r"b漢 +│ +22 │ few", lines[-1])


def test_table_of_many_columns_becomes_names_and_values_on_a_narrow_terminal():
    names, values = ("|".join(f" {word}{n} " for n in range(9)) for word in ("name", "v"))
    table = f"|{names}|\n|{'---|' * 9}\n|{values}|\n"
    assert shown([table], 40).lines() == [f"name{n}: v{n}" for n in range(9)]


@pytest.mark.parametrize("text", ["x", "#", "-", "|", "`", "*", ">", "1", "[", "$", "~", "&", "\\", "漢"])
def test_first_character_is_on_the_screen_at_once(text):
    terminal = Terminal(80)
    terminal.write(MarkdownStream(columns=lambda: 80, colour=True).feed(text))
    assert "".join(terminal.lines()).strip() in (text, "•")


def test_without_colours_the_marks_stay_and_escapes_only_rewrite():
    stream = MarkdownStream(columns=lambda: 80, colour=False)
    written = "".join(map(stream.feed, REPLY)) + stream.finish()
    assert not set(re.findall(r"\x1b\[[\d;]*[A-Za-z]", written)) - {
        "\x1b[J",
        *(f"\x1b[{n}A" for n in range(1, 24)),
    }
    assert "**built-in** `sorted` is *stable*" in "\n".join(shown([REPLY], 80, colour=False).lines())


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b]0;title\x07",
        "\x9b2J",
        "&#x202e;abc",
        "`\x1b[2J`",
        "[a](\x1b[2J)",
        "```\n\x1b[2J\n```",
        "[red]x[/red]",
    ],
)
def test_control_characters_are_seen_and_never_sent(hostile):
    stream = MarkdownStream(columns=lambda: 80, colour=False)
    written = "".join(map(stream.feed, hostile)) + stream.finish()
    rest = re.sub(r"\x1b\[(J|\d+A)|\r(?=\x1b)|\n", "", written)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", rest)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "many words " * 9_000,
        "```python\n" + "x = 1; " * 14_000,
        "|" * 100_000,
        "".join(f"{'  ' * depth}- item\n" for depth in range(300)),
        "> " * 5_000 + "deep",
        "[" * 1_500 + "](" * 1_500,
        "**" * 20_000,
        "e" + "\u0301" * 50_000,
        "👩\u200d👩\u200d👧\u200d👦" * 2_000,
    ],
    ids=["word", "words", "code", "bars", "list", "quotes", "links", "stars", "marks", "families"],
)
def test_monstrous_text_is_shown(text):
    for pieces in ([text], divided(text, range(0, min(len(text), 3_000), 7))):
        stream = MarkdownStream(columns=lambda: 40, colour=True)
        written = "".join(map(stream.feed, pieces)) + stream.finish()
        kept = set(text) - set(" \n*[]()>|`-")
        assert all(written.count(character) >= text.count(character) for character in kept)


@given(
    sizes=st.lists(st.tuples(st.integers(1, 120), st.integers(1, 50)), min_size=1, max_size=30),
    text=st.lists(st.sampled_from([REPLY, *PARTS]), max_size=10).map("".join),
)
@settings(max_examples=30)
def test_any_sizes_of_the_terminal_harm_nothing(sizes, text):
    now = list(sizes[0])
    stream = MarkdownStream(columns=lambda: now[0], rows=lambda: now[1], colour=True)
    for number, piece in enumerate(divided(text, range(0, len(text), 9))):
        now[:] = sizes[number % len(sizes)]
        stream.feed(piece)
    stream.finish()


@pytest.mark.parametrize(("before", "after"), [(80, 40), (40, 80), (80, 79)])
def test_words_are_there_once_after_a_resize_while_streaming(before, after):
    words = [f"w{number}" for number in range(400)]
    text = "".join(f"{word}{chr(10) if number % 90 == 89 else ' '}" for number, word in enumerate(words))
    terminal, now = Terminal(before), [before]
    stream = MarkdownStream(columns=lambda: now[0], colour=True)
    for number, piece in enumerate(divided(text, range(0, len(text), 5))):
        if number == 100:
            now[0] = after
            terminal.screen.resize(columns=max(before, after))
        terminal.write(stream.feed(piece))
    terminal.write(stream.finish())
    assert re.findall(r"w\d+", " ".join(terminal.lines())) == words
