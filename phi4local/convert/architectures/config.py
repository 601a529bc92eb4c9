"""Take numbers out of a config.json that a stranger wrote."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from phi4local.convert.strict_json import shown
from phi4local.errors import CheckpointError, UnsupportedCheckpointError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_WHOLE = 2**31 - 1  # llama.cpp keeps these numbers in 32 bits
_FLOAT32_MAX = 3.4e38


class Fields:
    """The fields of a config.json, checked as they are taken.

    transformers 5 keeps the rotary numbers in `rope_parameters`, earlier versions at the top and in
    `rope_scaling` (modeling_rope_utils.py); both are read.

    Example: `Fields({"hidden_size": 256}, path).whole("hidden_size")` → 256.
    """

    def __init__(self, config: dict[str, Any], path: Path) -> None:
        self._path = path
        rope: dict[str, Any] = {}
        for key in ("rope_parameters", "rope_scaling"):
            table = config.get(key)
            if table is not None and not isinstance(table, dict):
                raise CheckpointError(path, f"{key} is no table")
            rope |= table or {}
        self._rope_keys = frozenset(rope)
        self._rope_kind = rope.get("rope_type") or rope.get("type")
        self._config = {key: value for key, value in config.items() if value is not None}
        for key in ROPE_NUMBERS & rope.keys():
            if self._config.setdefault(key, rope[key]) != rope[key]:
                raise CheckpointError(path, f"{key} is {shown(self._config[key])} and {shown(rope[key])}")

    def value(self, name: str, default: object = None) -> object:
        """Return the field as it stands, or `default` when it is absent or null."""
        return self._config.get(name, default)

    def rope_kind(self) -> object:
        """Return the kind of rotary scaling, `None` or "default" for none."""
        return self._rope_kind

    def rope_keys(self) -> frozenset[str]:
        """Return the keys of the table of rotary numbers."""
        return self._rope_keys

    def whole(
        self, name: str, *, default: int | None = None, least: int = 1, most: int = LARGEST_WHOLE
    ) -> int:
        """Return a whole number between `least` and `most`.

        Raises:
            CheckpointError: another value, or none and no default.
        """
        value = self._config.get(name, default)
        if value is None:
            raise CheckpointError(self._path, f"{name} is missing")
        if type(value) is not int or not least <= value <= most:
            raise CheckpointError(
                self._path, f"{name} is {shown(value)}; it must be a whole number, {least:,} to {most:,}"
            )
        return value

    def positive(self, name: str, *, default: float | None = None) -> float:
        """Return a number above 0 that fits 32-bit floating point.

        Raises:
            CheckpointError: another value, or none and no default.
        """
        value = self._config.get(name, default)
        if value is None:
            raise CheckpointError(self._path, f"{name} is missing")
        if type(value) not in (int, float) or not math.isfinite(value) or not 1e-37 < value < _FLOAT32_MAX:
            raise CheckpointError(self._path, f"{name} is {shown(value)}; it must be a finite number above 0")
        return float(value)

    def flag(self, name: str) -> bool:
        """Return true or false; an absent field is false.

        Raises:
            CheckpointError: another value.
        """
        value = self._config.get(name, False)
        if not isinstance(value, bool):
            raise CheckpointError(self._path, f"{name} is {shown(value)}; it must be true or false")
        return value

    def require(self, holds: bool, problem: str) -> None:  # noqa: FBT001 - reads as a sentence
        """Raise `CheckpointError` with `problem` unless `holds`."""
        if not holds:
            raise CheckpointError(self._path, problem)

    def support(self, holds: bool, problem: str) -> None:  # noqa: FBT001
        """Raise `UnsupportedCheckpointError` with `problem` unless `holds`."""
        if not holds:
            raise UnsupportedCheckpointError(
                f"`{self._path}`: {problem}", hint="use a Phi-4 checkpoint such as microsoft/phi-4"
            )


ROPE_NUMBERS = frozenset(
    {
        *("rope_theta", "partial_rotary_factor", "original_max_position_embeddings"),
        *("long_factor", "short_factor", "factor", "attention_factor"),
    }
)
