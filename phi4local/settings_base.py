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
