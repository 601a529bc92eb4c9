"""From values at positions to the figures of a report: means with errors, percentiles.

Source: `kl_divergence` in tools/perplexity/perplexity.cpp of llama.cpp 0c1e57098, whose names and formulas
these are. Errors are standard errors of a mean: sqrt((E[x²] - E[x]²) / (n - 1)).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local.bench.quality.figures import Divergence, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phi4local.bench.quality.scores import Compared

    Values = NDArray[np.floating[Any]]

PERCENTILES = (0.0, 0.1, 1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)


def mean(values: Values) -> Estimate:
    """Return the mean with its error. Example: `[1, 3]` → 2 ± 1."""
    wide = values.astype(np.float64)
    error = math.sqrt(wide.var() / (len(wide) - 1)) if len(wide) > 1 else 0.0
    return Estimate(float(wide.mean()), error)


def perplexity(losses: Values) -> Estimate:
    """Return exp(mean loss); its error is the mean's times the perplexity. Example: all ln 2 → 2 ± 0."""
    loss = mean(losses)
    value = math.exp(loss.value)
    return Estimate(value, value * loss.error)


def log_ratio(losses: Values, base_losses: Values) -> Estimate:
    """Return ln(perplexity / base perplexity); the error knows that both read the same text."""
    return mean(losses.astype(np.float64) - base_losses.astype(np.float64))


def percentiles(values: Values) -> dict[str, float]:
    """Return values by per cent, between two of them in proportion. Example: median of `[1, 2]` → 1.5."""
    found = np.percentile(values.astype(np.float64), PERCENTILES)
    return {str(place): float(value) for place, value in zip(PERCENTILES, found, strict=True)}


def divergence(compared: Compared, exact_base_losses: Values | None) -> Divergence:
    """Return the figures of all positions together.

    Args:
        compared: arrays over all chunks.
        exact_base_losses: the base's, where they are known.
    """
    differences = compared.probability_differences.astype(np.float64)
    squares = mean(differences**2)
    rms = math.sqrt(squares.value)
    same = float(compared.same_best.mean())
    base_losses = compared.base_losses if exact_base_losses is None else exact_base_losses
    return Divergence(
        kl=mean(compared.divergences),
        kl_percentiles=percentiles(compared.divergences),
        same_top=Estimate(same, math.sqrt(same * (1 - same) / max(1, len(differences) - 1))),
        rms_difference=Estimate(rms, 0.5 / rms * squares.error if rms else 0.0),
        mean_difference=mean(differences),
        difference_percentiles=percentiles(differences),
        log_ratio=log_ratio(compared.losses, base_losses),
        correlation=_correlation(compared.losses, base_losses),
        stored_base_perplexity=perplexity(compared.base_losses),
        stored_log_ratio=log_ratio(compared.losses, compared.base_losses),
    )


def _correlation(losses: Values, base_losses: Values) -> float:
    if not (losses.std() and base_losses.std()):
        return 1.0
    return float(np.corrcoef(losses, base_losses)[0, 1])
