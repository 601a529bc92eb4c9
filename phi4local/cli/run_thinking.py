"""Thoughts of a reasoning model are no part of the answer of `run`: they go to stderr, or nowhere."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.assistant.thinking import ThinkingSplitter, Thought
from phi4local.cli.text import visible
from phi4local.cli.wrap import WordWrap
from phi4local.engine import Finished, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phi4local.engine import Event

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


def answer_events(events: Iterable[Event], *, show: bool) -> Iterator[Event]:
    """Yield the events of an answer without its thoughts, which are shown on stderr as they come, if at all.

    Args:
        events: of the whole reply.
        show: write the thoughts to stderr, dimmed on a terminal.
    """
    splitter, thoughts = ThinkingSplitter(), _Thoughts(show=show)
    for event in events:
        if isinstance(event, Text):
            yield replace(event, delta=thoughts.without(splitter.feed(event.delta)))
            continue
        if isinstance(event, Finished):
            rest = thoughts.without(splitter.finish())
            thoughts.end()
            if rest:
                yield Text(rest, ())
        yield event


def parted(reply: str) -> tuple[str, str]:
    """Return the thoughts of a whole reply, and its answer.

    Example: `parted("<think>Two and two</think>Four.")` is `("Two and two", "Four.")`.
    """
    splitter = ThinkingSplitter()
    parts = [*splitter.feed(reply), *splitter.finish()]
    thoughts = "".join(part.delta for part in parts if isinstance(part, Thought))
    return thoughts, "".join(part for part in parts if isinstance(part, str))


class _Thoughts:
    """Thoughts on stderr, with a line end before the answer begins."""

    def __init__(self, *, show: bool) -> None:
        terminal = sys.stderr.isatty()
        dim = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._show = show
        self._wrap = WordWrap(shutil.get_terminal_size().columns) if terminal else None
        self._marks = (_DIM, _PLAIN) if dim else ("", "")
        self._begun = False

    def without(self, parts: list[Thought | str]) -> str:
        """Show the thoughts of some text and return the rest of it."""
        answer = ""
        for part in parts:
            if isinstance(part, Thought):
                self._write(part.delta)
            else:
                self.end()
                answer += part
        return answer

    def end(self) -> None:
        """End the line of the last thought."""
        if self._begun:
            self._begun = False
            sys.stderr.write(
                self._marks[0] + (self._wrap.finish() if self._wrap else "") + self._marks[1] + "\n"
            )
            sys.stderr.flush()

    def _write(self, delta: str) -> None:
        if self._show:
            self._begun = True
            text = visible(delta, keep_lines=True)
            sys.stderr.write(
                self._marks[0] + (self._wrap.feed(text) if self._wrap else text) + self._marks[1]
            )
            sys.stderr.flush()
