"""What the conversation does after a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this.

    Attributes:
        text: the question.
        sampling: settings for once.
        replacing: the last turn makes way for it.
    """

    text: str
    sampling: SamplingSettings | None = None
    replacing: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """End the program."""


Action = Ask | Leave | None
