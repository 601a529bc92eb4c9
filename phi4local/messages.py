"""Messages of a conversation, as every layer passes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from phi4local.errors import InvalidSettingError

Role = Literal["system", "user", "assistant"]
"""Who speaks. Phi-4's template knows these three."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: who said what.

    Example: `Message("user", "Why is the sky blue?")`.

    Raises:
        InvalidSettingError: the role is none of `Role`, or the content is no text.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise InvalidSettingError("role", f"is `{self.role}`, not one of {', '.join(get_args(Role))}")
        if not isinstance(self.content, str):
            raise InvalidSettingError("content", f"of a message is {type(self.content).__name__}, not text")
