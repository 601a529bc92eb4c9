"""What the rules have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from phi4local.assistant.guard.folded import Folded

Action = Literal["block", "mask"]
Direction = Literal["input", "output"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that a rule found in a text, from the character `start` up to `end`."""

    rule: str
    category: str
    action: Action
    start: int
    end: int


class SpanRule(Protocol):
    """A rule that finds places in a text and needs nobody else for it."""

    name: str

    def find(self, folded: Folded) -> list[Finding]:
        """Return what is in the text; places are those of the original."""

    def open_from(self, folded: Folded) -> int:
        """Return from which character on more text could still make, change or undo a finding.

        What begins before it is decided. The text's length when nothing is open.
        """


class TextRule(Protocol):
    """A rule that reads a text as a whole: a model, or a service."""

    name: str
    on_failure: Literal["block", "allow"]
    most_characters: int
    """Longest text that it takes at once."""

    def check(self, text: str, direction: Direction) -> str | None:
        """Return the category of what is not allowed, or `None`.

        Raises:
            Phi4LocalError: the check could not be made.
        """
