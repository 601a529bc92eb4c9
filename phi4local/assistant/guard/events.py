"""What the guard adds to the events of an answer, and its answer about a text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """The answer ends here: what would have come next is not allowed. `message` is for a person."""

    rule: str
    category: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """Something in the text before or after this event was replaced by the category in brackets.

    Its token ids were left out, so the ids of the answer are no longer complete.
    """

    rule: str
    category: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchecked:
    """A check could not be made, and the policy lets the text through. `message` is for a person."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """The question was changed, or could not be checked. `message` is for a person."""

    message: str


GuardEvent = Blocked | Masked | Unchecked | Noted


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the guard says about a text that a person wrote.

    Attributes:
        allowed: whether the model may read it.
        text: what the model may read: the text, with what is masked replaced.
        rule: the rule that blocked it, or the first that masked something; empty if none did.
        category: what was found.
        text_for_person: what to tell the person; empty if there is nothing to tell.
    """

    allowed: bool
    text: str
    rule: str = ""
    category: str = ""
    text_for_person: str = ""
