"""Messages of a conversation, as every layer passes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


Messages = str | Sequence[Message | Mapping[str, str]]
"""How a conversation may be given: messages, mappings with the same two keys, or one text from the user."""


def as_messages(conversation: Messages) -> tuple[Message, ...]:
    """Return a conversation as messages.

    Example: `[{"role": "user", "content": "Hi"}]` and `"Hi"` both give `(Message("user", "Hi"),)`.

    Raises:
        InvalidSettingError: a message without role or content, or with another key.
    """
    if isinstance(conversation, str):
        return (Message("user", conversation),)
    if isinstance(conversation, Mapping) or not isinstance(conversation, Sequence):
        raise InvalidSettingError("messages", "is no list", hint=_SHAPE)
    return tuple(_as_message(message, place) for place, message in enumerate(conversation))


_SHAPE = 'write [{"role": "user", "content": "Hello"}]'


def _as_message(value: object, place: int) -> Message:
    if isinstance(value, Message):
        return value
    if not isinstance(value, Mapping) or set(value) != {"role", "content"}:
        found = f"the keys {sorted(map(str, value))}" if isinstance(value, Mapping) else type(value).__name__
        raise InvalidSettingError(
            f"messages[{place}]", f"has {found}; it needs `role` and `content`", hint=_SHAPE
        )
    return Message(value["role"], value["content"])
