"""What all settings can do: be built from a mapping, fill unset fields, and check numbers."""

from __future__ import annotations

import difflib
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Self

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Settings:
    """What both settings can do: build from a mapping, and fill unset fields."""

    __slots__ = ()

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Build settings from names and values, as TOML and JSON hold them.

        Example: `SamplingSettings.from_mapping({"temperature": 0})`.

        Raises:
            InvalidSettingError: a name that is no field; the hint lists near names.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=2) or known
                raise InvalidSettingError(name, "does not exist", hint=f"known: {', '.join(near)}")
        return cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def filled_from(self, defaults: Self) -> Self:
        """Return a copy whose unset fields come from `defaults`.

        Example: `SamplingSettings(top_k=5).filled_from(SamplingSettings(top_k=40, temperature=0.8))`
        has `top_k` 5 and `temperature` 0.8.
        """
        unset = {name: getattr(defaults, name) for name, v in self.to_mapping().items() if v is None}
        return replace(self, **unset)  # type: ignore[type-var]

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


def require(setting: str, value: float | None, *, low: float, high: float = float("inf")) -> None:
    """Check a number; `None` is unset and always right.

    Raises:
        InvalidSettingError: no number, or outside `low` to `high`.
    """
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        wanted = f"at least {low:,}" if high == float("inf") else f"between {low:,} and {high:,}"
        raise InvalidSettingError(setting, f"is {value!r}; it must be {wanted}")


def require_whole(setting: str, value: int | None, *, low: int, high: float = float("inf")) -> None:
    """Check a whole number; `None` is unset and always right.

    Raises:
        InvalidSettingError: no whole number, or outside `low` to `high`.
    """
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise InvalidSettingError(setting, f"is {value!r}; it must be a whole number")
    require(setting, value, low=low, high=high)


MAX_BIASED_TOKENS = 1024
"""Far fewer than a vocabulary, so that no request can forbid every token."""
MAX_BREAKERS = 32
"""llama.cpp compares each with the whole vocabulary when a request starts: 10 ms for 100,352 tokens."""
FORBIDDING_BIAS = -100.0
"""The bias that forbids a token outright, as in OpenAI's interface."""


def require_text(setting: str, value: str | None) -> None:
    """Refuse what is no text, an empty one, and one with half a surrogate, which no UTF-8 has.

    Raises:
        InvalidSettingError: it is one of these.
    """
    if value is not None and not (isinstance(value, str) and value and _has_utf8(value)):
        raise InvalidSettingError(setting, f"is {value!r}; it must be a text that is not empty")


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_texts(setting: str, value: tuple[str, ...] | None) -> None:
    """Refuse what is no tuple of texts; for breakers of DRY, too many.

    Raises:
        InvalidSettingError: it is something else.
    """
    texts = () if value is None else value
    if not isinstance(texts, tuple) or not all(isinstance(text, str) and text for text in texts):
        raise InvalidSettingError(setting, f"is {value!r}; it must be texts that are not empty")
    if setting == "dry_sequence_breakers" and len(texts) > MAX_BREAKERS:
        raise InvalidSettingError(setting, f"has {len(texts)} texts; {MAX_BREAKERS} are the most")


def bias_pairs(value: Any) -> tuple[tuple[int, float], ...]:  # noqa: ANN401 - JSON has text for numbers
    """Return a bias as sorted pairs. Example: `{"7": -100, 3: 1}` → `((3, 1.0), (7, -100.0))`."""
    try:
        pairs = {int(token): float(bias) for token, bias in dict(value).items()}
    except (TypeError, ValueError):
        raise InvalidSettingError("logit_bias", "must map token ids to numbers") from None
    if len(pairs) > MAX_BIASED_TOKENS:
        raise InvalidSettingError(
            "logit_bias", f"has {len(pairs):,} tokens; {MAX_BIASED_TOKENS:,} are the most"
        )
    for token, bias in pairs.items():
        require_whole("logit_bias", token, low=0, high=2**31 - 1)
        require("logit_bias", bias, low=FORBIDDING_BIAS, high=-FORBIDDING_BIAS)
    return tuple(sorted(pairs.items()))
