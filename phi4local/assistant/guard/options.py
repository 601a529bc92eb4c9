"""The keys of each kind of rule, and what their values may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phi4local.assistant.guard.azure import CATEGORIES, SEVERITIES
from phi4local.assistant.guard.personal import PATTERNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def text(value: object) -> str:
    """Return a text that is not empty. Raises ValueError, as all of these do: what it must be."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"is {_shown(value)}; it must be a text that is not empty")
    return value


def switch(value: object) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"is {_shown(value)}; it must be true or false")  # noqa: TRY004 - as its siblings
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return a list of texts that are not empty."""
    if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
        raise ValueError(f"is {_shown(value)}; it must be a list of texts that are not empty")
    return tuple(value)


def table(value: object) -> dict[str, Any]:
    """Return a table."""
    if not isinstance(value, dict):
        raise ValueError(f"is {_shown(value)}; it must be tables such as [rules.NAME]")  # noqa: TRY004
    return value


def whole_number(low: int, high: int) -> Callable[[object], int]:
    """Return a check for a whole number from `low` to `high`."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"is {_shown(value)}; it must be a whole number from {low:,} to {high:,}")
        return value

    return check


def one_of(*known: str | int) -> Callable[[object], Any]:
    """Return a check for one of these values."""

    def check(value: object) -> object:
        if isinstance(value, bool) or value not in known:
            raise ValueError(f"is {_shown(value)}; it must be one of {_listed(known)}")
        return value

    return check


def some_of(known: Iterable[str]) -> Callable[[object], tuple[str, ...]]:
    """Return a check for a list with some of these texts."""
    allowed = tuple(known)

    def check(value: object) -> tuple[str, ...]:
        chosen = texts(value)
        wrong = [one for one in chosen if one not in allowed]
        if wrong or not chosen:
            raise ValueError(f"has {_shown(wrong)}; it must be some of {_listed(allowed)}")
        return chosen

    return check


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _listed(known: Iterable[str | int]) -> str:
    return ", ".join(map(str, known))


_ACTION = one_of("block", "mask")
_ON_FAILURE = one_of("block", "allow")

KINDS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "words": {"words": texts, "files": texts, "category": text, "action": _ACTION},
    "personal": {"patterns": some_of(PATTERNS), "action": _ACTION},
    "judge": {
        "policy": text,
        "model": text,
        "on_failure": _ON_FAILURE,
        "most_characters": whole_number(200, 100_000),
    },
    "azure": {
        "severity": one_of(*SEVERITIES),
        "categories": some_of(CATEGORIES),
        "blocklists": texts,
        "on_failure": _ON_FAILURE,
        "api_version": text,
    },
}
"""By kind of rule, what each key takes."""
NEEDED = {"words": ("words",), "judge": ("policy",)}
