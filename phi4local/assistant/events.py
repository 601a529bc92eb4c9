"""What a conversation tells beside the text of an answer."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model calls a tool, instead of saying something.

    Attributes:
        name: of the tool.
        arguments: a JSON object, as text.
        id: told to a client, who sends it back with the result.
    """

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex[:24]}")


ConversationEvent = Event | GuardEvent | Thought | ToolCall | TurnsDropped
