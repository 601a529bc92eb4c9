"""Sampling settings → llama.cpp's sampler chain, in llama.cpp's order."""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any

from phi4local.settings_base import FORBIDDING_BIAS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from phi4local.settings import SamplingSettings

Step = tuple[Any, ...]
LOWEST_TEMPERATURE = 1e-6
"""Below it, logits divided by the temperature may not fit into a float any more."""
SMALL_TOP_K = 128
"""Up to here llama.cpp finds the best tokens with a heap, in one pass."""
SMALL_VOCABULARY = 2**15
"""phi4-nano has 8,192 tokens; the real family members have 100,352 and 200,064."""
MIN_KEEP = 0
"""llama.cpp's default: filters may leave a single token."""
MIROSTAT_TOKENS = 100
"""Tokens from which mirostat 1 estimates the slope; llama.cpp's constant (common/sampling.cpp)."""


def chain_steps(sampling: SamplingSettings, *, vocabulary_tokens: int) -> list[Step]:
    """Return the steps of the chain for settings without unset fields.

    The order is that of llama.cpp's default chain (common/sampling.cpp, `common_sampler_init`, with the
    samplers of common/common.h). Steps that would change nothing are left out. Temperature 0 chooses the
    most likely token after bias and penalties, and needs no other step: llama.cpp would still let XTC and
    typical sampling drop that token.

    Example: `SamplingSettings(temperature=0)` filled from the defaults → `[("greedy",)]`.
    """
    if (sampling.temperature or 0) < LOWEST_TEMPERATURE:
        return [*adjusting_steps(sampling, vocabulary_tokens=vocabulary_tokens), ("greedy",)]
    seed = secrets.randbelow(2**32 - 1) if sampling.seed is None else sampling.seed
    if sampling.mirostat:
        return [*_bias_steps(sampling), *_mirostat_steps(sampling, seed, vocabulary_tokens)]
    return [
        *adjusting_steps(sampling, vocabulary_tokens=vocabulary_tokens),
        *_filter_steps(sampling, seed),
        (
            "temp_ext",
            sampling.temperature,
            sampling.dynamic_temperature_range,
            sampling.dynamic_temperature_exponent,
        ),
        ("dist", seed),
    ]


def adjusting_steps(sampling: SamplingSettings, *, vocabulary_tokens: int) -> list[Step]:
    """Return the steps that change the logits of a few tokens: bias, penalties, DRY."""
    steps = _bias_steps(sampling)
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
    if uses_dry(sampling):
        steps.append(
            (
                "dry",
                sampling.dry_multiplier,
                sampling.dry_base,
                sampling.dry_allowed_length,
                sampling.dry_last_tokens,
                sampling.dry_sequence_breakers or (),
            )
        )
    return steps


def uses_penalties(sampling: SamplingSettings) -> bool:
    """Return whether the three penalties on recent tokens change anything."""
    if not sampling.penalty_last_tokens:
        return False
    repeats = sampling.repeat_penalty not in (None, 1)
    return repeats or bool(sampling.frequency_penalty) or bool(sampling.presence_penalty)


def uses_dry(sampling: SamplingSettings) -> bool:
    """Return whether the penalty on repeated phrases changes anything."""
    return bool(sampling.dry_multiplier and sampling.dry_last_tokens)


def remembered_tokens(sampling: SamplingSettings) -> int:
    """Return how many of the newest tokens the chain looks at. Example: all defaults → 0."""
    if sampling.mirostat and (sampling.temperature or 0) >= LOWEST_TEMPERATURE:
        return 0
    penalties = sampling.penalty_last_tokens if uses_penalties(sampling) else 0
    dry = sampling.dry_last_tokens if uses_dry(sampling) else 0
    return max(penalties or 0, dry or 0)


def is_cheap(steps: Sequence[Step], *, vocabulary_tokens: int) -> bool:
    """Return whether llama.cpp's own chain over the whole vocabulary is the best way.

    So it is for small vocabularies and for chains that begin with a small top-k (0.17 ms after a real step,
    0.34 ms through numpy), and needs no numpy, which takes 0.1 s to load; but not for typical sampling,
    which takes forbidden tokens badly there, and mirostat 1, which overflows. So it also is for the one
    combination in which the number of candidates matters that numpy would have dropped.
    """
    names = [step[0] for step in steps]
    if "typical" in names or "mirostat" in names:
        return False
    if "top_n_sigma" in names and any(step[0] == "temp_ext" and step[2] for step in steps):
        return True
    filters = [step for step in steps if step[0] not in ("logit_bias", "penalties", "dry")]
    small_top_k = filters[0][0] == "top_k" and filters[0][1] <= SMALL_TOP_K
    return small_top_k or vocabulary_tokens <= SMALL_VOCABULARY


def needs_few(steps: Sequence[Step]) -> bool:
    """Return whether a chain looks at no more than the `SMALL_TOP_K` most likely tokens of a row.

    Example: `[("top_k", 40), …]` and `[("greedy",)]` do; with a bias or a penalty before it, any token can
    become one of them.
    """
    first, *arguments = steps[0]
    if any(step[0] == "typical" for step in steps):  # see `is_cheap`
        return False
    return bool(first == "greedy" or (first == "top_k" and arguments[0] <= SMALL_TOP_K))


def _bias_steps(sampling: SamplingSettings) -> list[Step]:
    biases = dict(sampling.logit_bias or ()).items()
    pairs = tuple((token, -math.inf if bias == FORBIDDING_BIAS else bias) for token, bias in biases if bias)
    return [("logit_bias", pairs)] if pairs else []


def _filter_steps(sampling: SamplingSettings, seed: int) -> list[Step]:
    """Return the steps that drop tokens."""
    steps: list[Step] = []
    if sampling.top_n_sigma:
        steps.append(("top_n_sigma", sampling.top_n_sigma))
    if sampling.top_k:
        steps.append(("top_k", sampling.top_k))
    if sampling.typical_p is not None and sampling.typical_p < 1:
        steps.append(("typical", sampling.typical_p, MIN_KEEP))
    if sampling.top_p is not None and sampling.top_p < 1:
        steps.append(("top_p", sampling.top_p, MIN_KEEP))
    if sampling.min_p:
        steps.append(("min_p", sampling.min_p, MIN_KEEP))
    if sampling.xtc_probability and (sampling.xtc_threshold or 0) <= 0.5:
        steps.append(("xtc", sampling.xtc_probability, sampling.xtc_threshold, MIN_KEEP, seed))
    return steps


def _mirostat_steps(sampling: SamplingSettings, seed: int, vocabulary_tokens: int) -> list[Step]:
    tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
    if sampling.mirostat == 1:
        return [
            ("temp", sampling.temperature),
            ("mirostat", vocabulary_tokens, seed, tau, eta, MIROSTAT_TOKENS),
        ]
    return [("temp", sampling.temperature), ("mirostat_v2", seed, tau, eta)]
