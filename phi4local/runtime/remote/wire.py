"""Events and errors as JSON, and back: one line each between a server of this program and its clients."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

from phi4local import errors
from phi4local.engine import ContextShifted, Finished, Text, Timings, TokenLogprob, Usage
from phi4local.engine.events import FinishReason
from phi4local.errors import Phi4LocalError

if TYPE_CHECKING:
    from phi4local.engine import Event

MOST = 1e15
"""Larger than every count and time."""
MOST_CHARACTERS = 1000
"""Of an error's message; a longer one is none of ours."""


def told(event: Event) -> dict[str, Any]:
    """Return an event as JSON.

    Example: `Text("Hello", (919,))` is `{"text": "Hello", "ids": [919]}`.
    """
    if isinstance(event, Text):
        listed = (
            {} if event.logprobs is None else {"logprobs": [_told_logprob(one) for one in event.logprobs]}
        )
        return {"text": event.delta, "ids": list(event.token_ids), **listed}
    if isinstance(event, ContextShifted):
        return {"shifted": asdict(event)}
    return {"finished": asdict(event)}


def event_of(line: dict[str, Any]) -> Event:
    """Return the event that `told` has made JSON of.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    if "text" in line:
        items = line.get("logprobs")
        logprobs = None if items is None else tuple(_logprob(item) for item in items)
        if not isinstance(line["text"], str):
            raise TypeError("no text")
        return Text(line["text"], tuple(int(token) for token in line["ids"]), logprobs)
    if "shifted" in line:
        return ContextShifted(**_counts(line["shifted"], int))
    end = line["finished"]
    if end["reason"] not in get_args(FinishReason) or not isinstance(end["stop_text"], str | None):
        raise ValueError("no end of an answer")
    return Finished(
        reason=end["reason"],
        usage=Usage(**_counts(end["usage"], int)),
        timings=Timings(**_counts(end["timings"], float)),
        stop_text=end["stop_text"],
    )


def told_error(error: Phi4LocalError) -> dict[str, Any]:
    """Return an error as JSON: its class, its words, and the numbers and names that it carries."""
    facts = {name: value for name, value in vars(error).items() if isinstance(value, int | float | str)}
    return {"kind": type(error).__name__, "message": str(error), "hint": error.hint, "facts": facts}


def error_of(line: dict[str, Any]) -> Phi4LocalError | None:
    """Return the error that `told_error` has made JSON of; `None` when it is none of ours."""
    kind = getattr(errors, str(line.get("kind")), None)
    message, hint, facts = line.get("message"), line.get("hint"), line.get("facts")
    if not (isinstance(kind, type) and issubclass(kind, Phi4LocalError) and isinstance(message, str)):
        return None
    error = kind.__new__(kind)
    hint = hint[:MOST_CHARACTERS] if isinstance(hint, str) else None
    Phi4LocalError.__init__(error, message[:MOST_CHARACTERS], hint=hint)
    for name, value in facts.items() if isinstance(facts, dict) else ():
        if name.isidentifier() and not hasattr(error, name) and isinstance(value, int | float | str):
            setattr(error, name, value)
    return error


def _counts(values: dict[str, Any], kind: type[int] | type[float]) -> dict[str, Any]:
    """Return numbers from 0 on, by name.

    Raises:
        ValueError, TypeError, AttributeError: something else among them.
    """
    numbers = {name: kind(value) for name, value in values.items()}
    if not all(0 <= number < MOST for number in numbers.values()):
        raise ValueError("a number that cannot be")
    return numbers


def _told_logprob(item: TokenLogprob) -> list[Any]:
    return [item.token, item.logprob, [list(pair) for pair in item.top]]


def _logprob(item: list[Any]) -> TokenLogprob:
    token, logprob, top = item
    return TokenLogprob(int(token), float(logprob), tuple((int(one), float(value)) for one, value in top))
