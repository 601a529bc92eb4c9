"""What several requests of this dialect have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from phi4local.errors import UnsupportedFieldError
from phi4local.server.strict import Strict
from phi4local.server.task import SEEDS
from phi4local.settings import SamplingSettings


class Sampling(Strict):
    """How tokens are chosen: OpenAI's names first, then the others of docs/sampling.md."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    stop: str | list[str] | None = None
    top_k: int | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    repeat_penalty: float | None = None
    penalty_last_tokens: int | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_last_tokens: int | None = None
    dry_sequence_breakers: list[str] | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    dynamic_temperature_range: float | None = None
    dynamic_temperature_exponent: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    regex: str | None = None
    grammar: str | None = None

    def settings(self, **more: Any) -> SamplingSettings:  # noqa: ANN401 - fields of SamplingSettings
        """Return the settings that were sent, and `more` of them.

        Raises:
            InvalidSettingError: a value outside its range.
        """
        values = {name: getattr(self, name) for name in Sampling.model_fields}
        values["stop"] = [self.stop] if isinstance(self.stop, str) else self.stop or None
        if self.seed is not None:
            values["seed"] = self.seed % SEEDS  # OpenAI's have 64 bits
        return SamplingSettings.from_mapping({**values, **more})


Inputs = str | Annotated[list[str] | list[int] | list[list[int]], Field(min_length=1)]
"""One text or several, as text or as token ids."""


def each_input(given: str | Sequence[str | int | list[int]]) -> list[str | list[int]]:
    """Return what `Inputs` holds, one by one. Example: `[919, 5]` is one input, `[[919, 5]]` too."""
    if isinstance(given, str):
        return [given]
    ids = [part for part in given if isinstance(part, int)]
    return [ids] if ids else [part for part in given if not isinstance(part, int)]


def require_count(name: str, value: int | None, most: int) -> int:
    """Return how many answers are wanted: 1 when nothing is said.

    Raises:
        UnsupportedFieldError: none, or more than `most`.
    """
    if value is None:
        return 1
    if not 1 <= value <= most:
        raise UnsupportedFieldError(name, f"is {value}; it must be between 1 and {most}")
    return value
