"""What the conversation does after a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.settings import SamplingSettings


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this."""

    text: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask the last question again, with these settings for once."""

    sampling: SamplingSettings | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """End the program."""


Action = Ask | Retry | Leave | None
