"""What a measurement is: every sample, with mean and standard deviation."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Samples:
    """Values of repeated measurements. Example: `Samples((9.0, 11.0))` has mean 10 and deviation 1.41."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 for one value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return mean, deviation and the values, for JSON."""
        return {"mean": self.mean, "standard_deviation": self.deviation, "values": list(self.values)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedReport:
    """One row of a speed table.

    Attributes:
        path: `chat` (worker process, sampling, streaming) or `raw` (bare decode loop).
        prompt_tokens: length of the prompt that was evaluated.
        generated_tokens: length of the answers.
        prompt_tokens_per_second, generated_tokens_per_second: rates.
        first_token_seconds: from the request to the first text, for the whole prompt.
        load_seconds: from opening the file to ready, in the process that holds the model.
        peak_memory_bytes: largest resident size of the process that holds the model.
    """

    path: str
    prompt_tokens: int
    generated_tokens: int
    prompt_tokens_per_second: Samples
    generated_tokens_per_second: Samples
    first_token_seconds: Samples
    load_seconds: float
    peak_memory_bytes: int

    def to_mapping(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        samples = ("prompt_tokens_per_second", "generated_tokens_per_second", "first_token_seconds")
        return asdict(self) | {name: getattr(self, name).to_mapping() for name in samples}
