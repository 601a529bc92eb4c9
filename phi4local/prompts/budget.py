"""How much work and text one rendering of a chat template may cost.

Work is counted in units instead of seconds, so that a template is refused on every machine or on none. One
unit stands for a microsecond or two at most: an item of a loop, a call, a value in a container, 64 characters
that are copied or looked at.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from phi4local.errors import ChatTemplateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from phi4local.messages import Message

Value: TypeAlias = Any
"""What a template computes with: text, numbers, lists, and whatever else it got hold of."""

REFUSED_HINT = "the model file may be damaged or hostile: use a file from its publisher, or convert it again"

_BASE_UNITS = 250_000
_UNITS_PER_MESSAGE = 2_000
_BASE_CHARACTERS = 1 << 20
_MARKUP_FACTOR = 4
_CHARACTERS_PER_UNIT = 64


class Size(NamedTuple):
    """What is inside a value.

    Attributes:
        items: values on all levels, the outermost included.
        characters: length of all texts together.
        levels: how deep containers are nested; 1 for a plain value.
        foreign: type of an item that is no text, number, `None`, list, tuple or dict; `None` if all are.
    """

    items: int
    characters: int
    levels: int
    foreign: str | None


@dataclass(slots=True)
class Budget:
    """What is left for one rendering.

    Attributes:
        units: work that is left.
        characters: the longest text or list that any step may make, and the longest prompt.
        now: the time that the template sees; the same in all renderings of one prompt.

    Example: for one message of 1,000 characters, `Budget.of(messages, now)` has 253,000 units and 1,052,576
    characters.
    """

    units: int
    characters: int
    now: datetime

    @classmethod
    def of(cls, messages: Sequence[Message], now: datetime) -> Self:
        """Return a fresh budget for rendering these messages."""
        content = sum(len(message.content) for message in messages)
        units = _BASE_UNITS + _UNITS_PER_MESSAGE * len(messages) + content
        return cls(units, _BASE_CHARACTERS + _MARKUP_FACTOR * content, now)

    def charge(self, units: int) -> None:
        """Take `units` away.

        Raises:
            ChatTemplateError: nothing is left.
        """
        self.units -= units
        if self.units < 0:
            raise refusal("it does too much work for these messages")

    def charge_length(self, length: int) -> None:
        """Take away the price of making a text or list of this length.

        Raises:
            ChatTemplateError: it is longer than anything in a prompt may be, or nothing is left.
        """
        if length > self.characters:
            raise refusal(f"it makes a text or list of length {length:,}; the limit is {self.characters:,}")
        self.charge(1 + length // _CHARACTERS_PER_UNIT)

    def charge_shallow(self, value: Value) -> None:
        """Take away the price of looking at a value without its items' insides."""
        length = len(value) if isinstance(value, str | list | tuple | dict | range) else 0
        self.charge(1 + length // _CHARACTERS_PER_UNIT)

    def charge_deep(self, value: Value) -> Size:
        """Take away the price of looking at everything in a value, level by level; return what was found.

        A value that is small in memory can be huge when it is printed or compared: `[[x, x], [x, x]]` with
        one `x`, thirty levels deep. The budget ends before the levels do.
        """
        items = characters = levels = 0
        foreign: str | None = None
        level: list[Value] = [value]
        self.charge(1)
        while level:
            items += len(level)
            levels += 1
            inner: list[Value] = []
            for item in level:
                if isinstance(item, str):
                    characters += len(item)
                elif isinstance(item, list | tuple | dict):
                    self.charge(2 * len(item))
                    inner.extend(item if not isinstance(item, dict) else (*item, *item.values()))
                elif item is not None and not isinstance(item, int | float):
                    foreign = type(item).__name__
            level = inner
        self.charge(characters // _CHARACTERS_PER_UNIT)
        return Size(items, characters, levels, foreign)


def refusal(problem: str) -> ChatTemplateError:
    """Return the error for a template that does what templates may not. Example: `refusal("it prints …")`."""
    return ChatTemplateError(f"the chat template is refused: {problem}", hint=REFUSED_HINT)


current: ContextVar[Budget] = ContextVar("budget of the rendering in work")
"""The budget of the rendering that this thread is in."""
