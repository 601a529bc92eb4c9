"""What operators, methods of texts and printing may do: each is paid for and checked before it works."""

from __future__ import annotations

from jinja2.runtime import Undefined

from phi4local.prompts import metering
from phi4local.prompts.budget import Budget, Value, current, refusal

_STRIP_CHARACTERS = 64
_SEQUENCES = (str, list, tuple)


def check_operands(budget: Budget, operator: str, left: Value, right: Value) -> None:
    """Charge for an operator before it works.

    Example: `check_operands(budget, "*", "a", 10**9)` is refused.

    Raises:
        ChatTemplateError: the text, list or number would be too long, or `%` would format text.
    """
    if operator == "%" and isinstance(left, str):
        raise refusal("it formats text with `%`")
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > metering.INTEGER_BITS:
            raise refusal("it computes with very large numbers")
        return
    if operator == "*" and isinstance(right, _SEQUENCES):
        left, right = right, left
    if operator == "*" and isinstance(left, _SEQUENCES) and isinstance(right, int):
        budget.charge_length(len(left) * max(right, 0))
    elif operator == "+" and isinstance(left, _SEQUENCES) and isinstance(right, _SEQUENCES):
        budget.charge_length(len(left) + len(right))


def check_text_method(budget: Budget, name: str, text: str, args: tuple[Value, ...]) -> tuple[Value, ...]:
    """Charge for `text.name(*args)` before it works; return the arguments to call it with.

    Example: `check_text_method(budget, "join", ", ", (names,))` is `([…the names…],)`.

    Raises:
        ChatTemplateError: the result would be too long.
    """
    budget.charge_length(len(text))
    if name == "replace" and len(args) > 1:
        check_replace(budget, text, args[0], args[1])
    elif name in ("strip", "lstrip", "rstrip") and args:
        check_strip(args[0])
    elif name == "join" and args:
        items = list(args[0])
        budget.charge_length(
            sum(len(item) for item in items if isinstance(item, str)) + len(text) * len(items)
        )
        return (items, *args[1:])
    return args


def text_of(value: Value) -> str:
    """Return a value as the template prints it.

    Example: 3 → `3`, a missing value → an empty text, a function → refused.

    Raises:
        ChatTemplateError: too long, or nothing that has a text of its own.
    """
    budget = current.get()
    if not isinstance(value, Undefined | str):
        size = budget.charge_deep(value)
        if size.foreign:
            raise refusal(f"it prints a value of type {size.foreign}")
        budget.charge_length(size.characters)
    text = str(value)
    budget.charge_length(len(text))
    return text


def check_replace(budget: Budget, text: str, old: str, new: str) -> None:
    """Charge for replacing `old` with `new` before it is done."""
    budget.charge_length(len(text) + text.count(old) * max(len(new) - len(old), 0))


def check_strip(characters: str | None) -> None:
    """Refuse to strip many characters: the cost is their number times the text's length."""
    if characters is not None and len(characters) > _STRIP_CHARACTERS:
        raise refusal(f"it strips more than {_STRIP_CHARACTERS} different characters")
