"""Thoughts of a reasoning model are no part of the answer of `run`: they go to stderr, or nowhere."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from phi4local.assistant.answer import Answer
from phi4local.assistant.thinking import ThinkingSplitter, Thought
from phi4local.cli.thoughts import Thoughts
from phi4local.engine import Finished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from phi4local.assistant.events import ConversationEvent
    from phi4local.engine import Event

UNBROKEN = 10**9
"""Columns of what is no terminal."""


def answer_events(events: Iterable[Event], *, show: bool) -> Iterator[ConversationEvent]:
    """Yield the events of an answer without its thoughts, which are shown on stderr as they come, if at all.

    Args:
        events: of the whole reply.
        show: write the thoughts to stderr, dimmed on a terminal.
    """
    terminal = sys.stderr.isatty()
    dim = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    columns = shutil.get_terminal_size().columns if terminal else UNBROKEN
    thoughts = Thoughts("show" if show else "hide", columns=lambda: columns, colour=dim)
    answer = Answer()

    def shown(parts: Iterable[ConversationEvent]) -> Iterator[ConversationEvent]:
        for part in parts:
            sys.stderr.write(thoughts.feed(part.delta) if isinstance(part, Thought) else thoughts.finish())
            sys.stderr.flush()  # a line of thoughts may be long in coming
            if not isinstance(part, Thought):
                yield part

    for event in events:
        if isinstance(event, Finished):
            yield from shown(answer.rest())
            sys.stderr.write(thoughts.finish())
            yield event
        else:
            yield from shown(answer.take(event))


def parted(reply: str) -> tuple[str, str]:
    """Return the thoughts of a whole reply, and its answer.

    Example: `parted("<think>Two and two</think>Four.")` is `("Two and two", "Four.")`.
    """
    splitter = ThinkingSplitter()
    parts = [*splitter.feed(reply), *splitter.finish()]
    thoughts = "".join(part.delta for part in parts if isinstance(part, Thought))
    return thoughts, "".join(part for part in parts if isinstance(part, str))
