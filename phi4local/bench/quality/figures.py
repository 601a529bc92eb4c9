"""The figures of a report, as llama-perplexity calls them. Plain numbers: nothing here needs numpy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its standard error. Example: `Estimate(7.1781, 0.1996)`."""

    value: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """How far a model is from its base.

    Attributes:
        kl: mean KL(base ‖ model), nats a token.
        kl_percentiles: by per cent, as text: "50.0" is the median, "100.0" the maximum.
        same_top: share of positions where both have the same most likely token.
        rms_difference: root mean square of the difference in probability of the text's tokens, 0 to 1.
        mean_difference: its mean; below zero means that the model expects the text less.
        difference_percentiles: as `kl_percentiles`.
        log_ratio: ln(perplexity of the model / perplexity of the base), from exact losses if there are any.
        correlation: of both models' losses.
        stored_base_perplexity: of the base after 16 bits, which is what llama-perplexity reports.
        stored_log_ratio: with that base.
    """

    kl: Estimate
    kl_percentiles: dict[str, float]
    same_top: Estimate
    rms_difference: Estimate
    mean_difference: Estimate
    difference_percentiles: dict[str, float]
    log_ratio: Estimate
    correlation: float
    stored_base_perplexity: Estimate
    stored_log_ratio: Estimate

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, data: dict[str, Any]) -> Divergence:
        """Undo `to_mapping`."""
        fields: dict[str, Any] = {k: Estimate(**v) if _is_estimate(v) else v for k, v in data.items()}
        return cls(**fields)


def _is_estimate(value: object) -> bool:
    return isinstance(value, dict) and set(value) == {"value", "error"}
