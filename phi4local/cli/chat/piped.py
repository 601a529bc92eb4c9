"""A conversation through pipes: a line in, an answer out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from phi4local.cli.stream import print_answer

if TYPE_CHECKING:
    from phi4local.assistant.conversation import Conversation


def converse(conversation: Conversation) -> None:
    """Answer every line of standard input that is not blank."""
    for line in sys.stdin:
        if line.strip():
            print_answer(conversation.ask(line.rstrip("\n")))
