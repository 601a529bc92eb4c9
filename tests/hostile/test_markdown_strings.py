"""The hostile strings in a chat's markdown and thoughts: only text and our own drawing reach the terminal."""

from __future__ import annotations

import random
import re

import pytest

from phi4local.cli.chat.markdown.stream import MarkdownStream
from phi4local.cli.thoughts import Thoughts
from phi4local.engine.text import TextStream
from tests.hostile.terminal_strings import STRINGS
from tests.hostile.test_terminal_strings import check_characters, is_inside, readable

DRAWING = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]*[AJ]|\r")
"""Styles, cursor up, erase below, line start: all that an open block is drawn with."""
PLACES = [
    b"begin %s end",
    b"`%s`",
    b"- a\n- %s\n",
    b"| a | b |\n|---|---|\n| %s | c |\n",
    b"```\n%s\n```\n",
    b"# %s\n",
    b"**%s**",
]


def deltas(data: bytes, seed: int) -> list[str]:
    """Return the text of tokens that are cut anywhere."""
    generator, stream, found = random.Random(seed), TextStream(), []
    while data:
        size = generator.choice([1, 1, 2, 3, 7])
        found.append(stream.feed(data[:size]))
        data = data[size:]
    return [*found, stream.finish()]


@pytest.mark.parametrize("columns", [20, 40, 200])
@pytest.mark.parametrize("place", PLACES)
def test_hostile_strings_in_markdown(place, columns):
    for number, data in enumerate(STRINGS):
        drawn = MarkdownStream(columns=lambda: columns, colour=True)
        raw = "".join(map(drawn.feed, deltas(place.replace(b"%s", data), number))) + drawn.finish()
        shown = DRAWING.sub("", raw)
        check_characters(shown, styled=False)
        letters = "".join(c for c in readable(data, "reply") if c.isalnum())  # marks of markdown may go
        assert is_inside(letters, shown), (data, shown)


@pytest.mark.parametrize("columns", [20, 40, 200])
def test_hostile_strings_in_thoughts(columns):
    for number, data in enumerate(STRINGS):
        thoughts = Thoughts("show", columns=lambda: columns, colour=True)
        raw = "".join(map(thoughts.feed, deltas(data, number))) + thoughts.finish()
        shown = DRAWING.sub("", raw)
        check_characters(shown, styled=False)
        assert is_inside(readable(data, "reply").replace(" ", ""), shown), (data, shown)
