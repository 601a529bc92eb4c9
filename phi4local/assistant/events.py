"""What a conversation tells beside the text of an answer."""

from __future__ import annotations

from dataclasses import dataclass

from phi4local.assistant.guard.events import GuardEvent
from phi4local.assistant.thinking import Thought
from phi4local.engine import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsDropped:
    """The conversation no longer fitted: before the answer, its oldest turns went.

    Attributes:
        turns: how many.
        tokens: what they took in the context.
        summary: what the model wrote in their place, or `None`.
    """

    turns: int
    tokens: int
    summary: str | None = None


ConversationEvent = Event | GuardEvent | Thought | TurnsDropped
