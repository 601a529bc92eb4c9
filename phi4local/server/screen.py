"""What the guard lets a model read: every text of a task, whoever it says has written it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.errors import GuardRefusedError, UnsupportedFieldError
from phi4local.messages import Message

if TYPE_CHECKING:
    from phi4local.assistant.guard.guard import Guard
    from phi4local.server.task import Task

MOST_REMEMBERED = 4096
"""Texts that were found clean; a conversation comes whole with every turn, and judges are slow."""


class Screen:
    """Shows tasks to a guard before a model sees them.

    A server takes the roles of messages from a client, so none of them is trusted more than another.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._clean: OrderedDict[bytes, None] = OrderedDict()

    def checked(self, task: Task) -> Task:
        """Return the task as the model may read it, masked where it has to be.

        Raises:
            GuardRefusedError: it may not.
            UnsupportedFieldError: token ids, which the guard cannot read.
        """
        if isinstance(task.prompt, str):
            return replace(task, prompt=self._allowed(task.prompt))
        messages = task.messages()
        if messages is None:
            raise UnsupportedFieldError(
                "prompt", "has token ids, which the guard cannot read", hint="send text"
            )
        shown = (Message(message.role, self._allowed(message.content)) for message in messages)
        return replace(task, prompt=tuple(shown))

    def _allowed(self, text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        if digest in self._clean:
            return text
        verdict = self._guard.check_input(text)
        if not verdict.allowed:
            raise GuardRefusedError(verdict.text_for_person)
        if verdict.text == text and not verdict.text_for_person:
            self._clean[digest] = None
            while len(self._clean) > MOST_REMEMBERED:
                self._clean.popitem(last=False)
        return verdict.text
