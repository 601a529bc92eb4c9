"""What one check found."""

from __future__ import annotations

import collections
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

OK, WARNING, WRONG, SKIPPED = "ok", "warning", "wrong", "skipped"
STATES = (OK, WARNING, WRONG, SKIPPED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found, and what to do about it.

    Attributes:
        name: of the check; `docs/doctor.md` lists them.
        state: `ok`; `warning`, works but could be better; `wrong`, something will fail; `skipped`.
        seen: one line of what is there.
        advice: what to do, in words; empty when there is nothing to do or the command says it.
        command: what to type, word for word; empty when there is nothing to type.

    Example: `Result(name="disk", state=WARNING, seen="2.1 GB free", command="phi4local du")`.
    """

    name: str
    state: str
    seen: str
    advice: str = ""
    command: str = ""

    def to_mapping(self) -> dict[str, str]:
        """Return the fields by name, for JSON."""
        return asdict(self)


def summary(results: Iterable[Result]) -> dict[str, int]:
    """Count the states. Example: `{"ok": 14, "warning": 1, "wrong": 0, "skipped": 2}`."""
    counted = collections.Counter(result.state for result in results)
    return {state: counted[state] for state in STATES}


def report(results: list[Result]) -> dict[str, Any]:
    """Return everything for JSON; `ok` is false when something is wrong."""
    from phi4local import __version__

    counts = summary(results)
    return {
        "phi4local": __version__,
        "ok": not counts[WRONG],
        "counts": counts,
        "checks": [result.to_mapping() for result in results],
    }
