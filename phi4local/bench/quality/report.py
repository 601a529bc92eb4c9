"""What a measurement says about a model: one row of the table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.bench.quality.figures import Divergence, Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRow:
    """One model's figures.

    Attributes:
        name: as it was asked for.
        path: its file; of a model that was converted for the measurement, `None`.
        quantization: such as `Q4_K_M`.
        size_bytes: of the file, all parts together.
        bits_per_weight: stored bits of the tensors, divided by the number of weights.
        parameters: number of weights.
        is_base: the one that the others are compared with.
        perplexity: with its standard error; the smaller, the better the text was expected.
        divergence: from the base; `None` for the base, and without one.
        chunks, context_tokens, scored_tokens: how much was read, and of it scored.
        reading_rate: tokens per second of the text, in chunks.
        writing_rate: tokens per second, one after the other.
        reading_seconds, seconds: in llama.cpp, and altogether without loading.
        load_seconds: until the model was ready.
        peak_memory_bytes: largest resident size of the process, with the weights that it mapped.
        settings: how it was loaded.
    """

    name: str
    path: Path | None
    quantization: str
    size_bytes: int
    bits_per_weight: float
    parameters: int
    is_base: bool
    perplexity: Estimate
    divergence: Divergence | None
    chunks: int
    context_tokens: int
    scored_tokens: int
    reading_rate: float
    writing_rate: float
    reading_seconds: float
    seconds: float
    load_seconds: float
    peak_memory_bytes: int
    settings: dict[str, Any]

    def to_mapping(self) -> dict[str, Any]:
        """Return the fields by name, for JSON."""
        return asdict(self) | {"path": None if self.path is None else str(self.path)}
