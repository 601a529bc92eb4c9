"""How Ollama writes times: durations as in Go, nanoseconds, and moments of RFC 3339."""

from __future__ import annotations

import datetime
import math
import re

from phi4local.errors import UnsupportedFieldError

FOREVER = math.inf
"""What a negative `keep_alive` means."""
MOST_DIGITS = 18
"""More are no time but an attack on the reader of numbers."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(rf"(\d{{1,{MOST_DIGITS}}}(?:\.\d{{1,{MOST_DIGITS}}})?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_NUMBER = re.compile(rf"\d{{1,{MOST_DIGITS}}}(?:\.\d{{1,{MOST_DIGITS}}})?", re.ASCII)


def keep_alive_seconds(value: float | str | None) -> float | None:
    """Return how long a model stays loaded; `None` for as long as the server says.

    A number counts seconds, and so does a text that is nothing but a number. What is negative means for ever.

    Examples: 300 → 300.0; "5m" → 300.0; "1h30m" → 5400.0; 0 → 0.0; -1 and "-1m" → `FOREVER`.

    Raises:
        UnsupportedFieldError: no time.

    Source: `Duration.UnmarshalJSON` in api/types.go of ollama, and ParseDuration of Go's package time.
    """
    if value is None:
        return None
    seconds = _seconds(value) if isinstance(value, str) else float(value)
    if seconds is None or not math.isfinite(seconds):
        shown = repr(value if not isinstance(value, str) else value[:40])
        raise UnsupportedFieldError(
            "keep_alive", f"is {shown}, which is no time", hint='write "5m", seconds, 0, or -1 for ever'
        )
    return FOREVER if seconds < 0 else seconds


def _seconds(text: str) -> float | None:
    negative, digits = text.startswith("-"), text.lstrip("+-") if text[:2] not in ("--", "++") else text
    if _NUMBER.fullmatch(digits):
        total = float(digits)
    else:
        parts = list(_PART.finditer(digits))
        if not digits or "".join(part[0] for part in parts) != digits:
            return None
        total = sum(float(part[1]) * _UNITS[part[2]] for part in parts)
    return -total if negative else total


def nanoseconds(seconds: float) -> int:
    """Return a duration as Ollama writes it. Example: 0.5 → 500_000_000."""
    return max(0, round(seconds * 1e9))


def moment(seconds: float | None = None) -> str:
    """Return a moment, given in seconds since 1970, as text; now, if none is given.

    Example: 0 → "1970-01-01T00:00:00.000000Z".
    """
    when = datetime.datetime.now(datetime.UTC)
    if seconds is not None:
        when = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return when.isoformat(timespec="microseconds").replace("+00:00", "Z")
