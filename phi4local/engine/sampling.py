"""Sampling settings → llama.cpp's sampler chain, in llama.cpp's order."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phi4local.settings import SamplingSettings


def chain_steps(sampling: SamplingSettings, *, vocabulary_tokens: int) -> list[tuple[Any, ...]]:
    """Return the steps of the chain for settings without unset fields.

    Penalties, top-k, top-p, min-p, temperature, choice: the order of llama.cpp's default chain
    (common/common.h, `common_params_sampling.samplers`). Steps that would change nothing are left out.
    Temperature 0 chooses the most likely token, and needs no other step.

    Example: `SamplingSettings(temperature=0)` filled from the defaults → `[("greedy",)]`.
    """
    steps: list[tuple[Any, ...]] = []
    if uses_penalties(sampling):
        steps.append(
            (
                "penalties",
                vocabulary_tokens,
                sampling.penalty_last_tokens,
                sampling.repeat_penalty,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        )
    if not sampling.temperature:
        return [*steps, ("greedy",)]
    if sampling.top_k:
        steps.append(("top_k", sampling.top_k))
    if sampling.top_p is not None and sampling.top_p < 1:
        steps.append(("top_p", sampling.top_p, 1))
    if sampling.min_p:
        steps.append(("min_p", sampling.min_p, 1))
    seed = secrets.randbelow(2**32 - 1) if sampling.seed is None else sampling.seed
    return [*steps, ("temp", sampling.temperature), ("dist", seed)]


def uses_penalties(sampling: SamplingSettings) -> bool:
    """Return whether recent tokens matter; only then the chain has to know the prompt."""
    if not sampling.penalty_last_tokens:
        return False
    repeats = sampling.repeat_penalty not in (None, 1)
    return repeats or bool(sampling.frequency_penalty) or bool(sampling.presence_penalty)
