"""A conversation through pipes: a line in, an answer out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.cli.stream import print_answer

if TYPE_CHECKING:
    from phi4local.cli.chat.state import Chat


def converse(chat: Chat) -> None:
    """Answer every line of standard input that is not blank."""
    for line in sys.stdin:
        if line.strip():
            print_answer(chat.conversation.ask(chat.with_documents(line.rstrip("\n"))))
            for said in chat.citations():
                render.notice(said)
