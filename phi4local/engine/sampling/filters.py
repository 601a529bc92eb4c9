"""llama.cpp's filters over a whole vocabulary, without sorting it.

Each function does to a long list what llama.cpp's sampler of the same name does, and leaves a short list to
that sampler itself where it can: `(candidates, done)`, with `done` False when the sampler still has to run.
Sums here are good to the seventh digit; llama.cpp's, of 100,000 floats one after the other, are off in the
fourth or fifth, so the last tokens of a large set can differ. Tests hold every function against llama.cpp
and against exact arithmetic.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from phi4local.engine.sampling.candidates import (
    SHORT_LIST,
    Array,
    Candidates,
    apply_samplers,
    surprise_of,
    weights_of,
)
from phi4local.engine.sampling.chain import LOWEST_TEMPERATURE

if TYPE_CHECKING:
    from phi4local.native.sampler import NativeSampler

BINS = 1024
GROUP = 64
MARGIN = 1e-3
"""Logits that are kept below a bound, so that rounding cannot lose a token that the sampler keeps."""


def top_k(candidates: Candidates, k: int) -> tuple[Candidates, bool]:
    """Keep the k largest logits.

    k groups of tokens have a maximum of at least `bound`, so k tokens do, and no token below it can be among
    the k best. The sampler sorts what is left.

    Example: 100,352 tokens and k = 40 → some 45 candidates.
    """
    logits = candidates.logits
    count = len(logits)
    if k >= count:
        return candidates, True
    rows = min(GROUP, count // (4 * k))
    if rows > 1:
        width = count // rows
        maxima = logits[: rows * width].reshape(rows, width).max(axis=0)
        bound = np.partition(maxima, width - k)[width - k]
        places = np.flatnonzero(logits >= bound)
        if len(places) <= SHORT_LIST:
            return candidates.at(places), False
    bound = np.partition(logits, count - k)[count - k]
    above, equal = np.flatnonzero(logits > bound), np.flatnonzero(logits == bound)
    places = np.sort(np.concatenate((above, equal[: k - len(above)])))
    return candidates.at(places), k > SHORT_LIST


def top_p(candidates: Candidates, p: float, _keep: int) -> tuple[Candidates, bool]:
    """Keep the fewest likeliest tokens whose probabilities sum to at least p."""
    candidates = _possible(candidates)
    weights, total = weights_of(candidates.logits)
    goal = float(np.float32(p)) * total
    places = _heavy_enough(weights, total, goal)
    if places is not None:
        candidates, weights = candidates.at(places), weights[places]
    order = _leading(-candidates.logits, weights, goal, beyond=False)
    return candidates.at(order, ordered=len(order) <= SHORT_LIST), True


def typical(candidates: Candidates, p: float, _keep: int) -> tuple[Candidates, bool]:
    """Keep the fewest tokens whose probabilities sum to more than p, those of typical surprise first.

    A forbidden token has no part in the entropy; in llama.cpp it makes it NaN.
    """
    candidates = _possible(candidates)
    weights, total = weights_of(candidates.logits)
    surprise = math.log(total) + float(candidates.logits.max()) - candidates.logits
    entropy = float(weights @ surprise) / total
    order = _leading(
        np.abs(surprise - np.float32(entropy)), weights, float(np.float32(p)) * total, beyond=True
    )
    return candidates.at(order), True


def min_p(candidates: Candidates, p: float, _keep: int) -> tuple[Candidates, bool]:
    """Keep tokens at least p times as likely as the best one."""
    bound = float(candidates.logits.max()) + math.log(p)
    places = np.flatnonzero(candidates.logits >= np.float32(bound - MARGIN))
    if len(places) <= SHORT_LIST:
        return candidates.at(places), False
    return candidates.at(np.flatnonzero(candidates.logits >= np.float32(bound))), True


def top_n_sigma(candidates: Candidates, n: float) -> tuple[Candidates, bool]:
    """Keep logits at most n standard deviations below the best one; forbidden tokens count for neither."""
    candidates = _possible(candidates)
    bound = float(candidates.logits.max()) - n * float(candidates.logits.std())
    return candidates.at(np.flatnonzero(candidates.logits >= np.float32(bound))), True


def xtc(
    candidates: Candidates,
    _probability: float,
    threshold: float,
    _keep: int,
    _seed: int,
    sampler: NativeSampler,
) -> tuple[Candidates, bool]:
    """Drop all but the last of the tokens at least `threshold` likely, when the sampler's coin says so.

    The sampler gets those tokens, one that stops it, and one with the weight of all others.
    """
    weights, total = weights_of(candidates.logits)
    likely = np.flatnonzero(weights >= threshold * total * (1 - MARGIN))
    likely = likely[np.argsort(-candidates.logits[likely], kind="stable")]
    rest = max(total - float(weights[likely].sum(dtype=np.float64)), 0.0)
    logits = np.concatenate((candidates.logits[likely], (-np.inf, candidates.logits.max() + _log(rest))))
    judged = Candidates(logits.astype(np.float32), np.arange(len(logits)), ordered=True)
    dropped = apply_samplers(judged, [sampler]).first
    if not dropped:
        return candidates, True
    kept = np.ones(len(weights), np.bool_)
    kept[likely[:dropped]] = False
    return candidates.at(np.flatnonzero(kept)), True


def temp(candidates: Candidates, temperature: float) -> tuple[Candidates, bool]:
    """Divide the logits by the temperature."""
    logits = candidates.logits / np.float32(temperature)
    return candidates._replace(logits=logits), True


def temp_ext(
    candidates: Candidates, temperature: float, spread: float, exponent: float
) -> tuple[Candidates, bool]:
    """Divide the logits by a temperature that grows with the entropy, within `spread` of `temperature`."""
    if not spread:
        return temp(candidates, temperature)
    _surprise, entropy = surprise_of(candidates.logits)
    uncertainty = max(entropy, 0.0) / math.log(len(candidates.logits))
    low, high = max(0.0, temperature - spread), temperature + spread
    chosen = low + (high - low) * uncertainty**exponent
    if chosen >= LOWEST_TEMPERATURE:
        return temp(candidates, chosen)
    return candidates.at(np.array([candidates.logits.argmax()])), True


def _possible(candidates: Candidates) -> Candidates:
    """Return the candidates without forbidden ones."""
    if candidates.logits.min() > -np.inf:
        return candidates
    return candidates.at(np.flatnonzero(candidates.logits > -np.inf))


def _heavy_enough(weights: Array, total: float, goal: float) -> Array | None:
    """Return places that surely contain the nucleus, or `None` for all when they are not far fewer.

    All tokens lighter than slack / count together weigh less than the slack, which is what may be missing.
    """
    places: Array | None = None
    inside = total
    while (slack := inside - goal) > 0:
        heavy = weights >= slack / len(weights)
        if np.count_nonzero(heavy) > len(weights) / 4:  # the rest is as fast without another copy
            break
        keep = np.flatnonzero(heavy)
        places, weights = keep if places is None else places[keep], weights[keep]
        inside = float(weights.sum(dtype=np.float64))
    return places


def _leading(keys: Array, weights: Array, goal: float, *, beyond: bool) -> Array:
    """Return places of the fewest tokens, lowest keys first, whose weights sum to `goal` (or beyond it).

    A short result is in the order of the keys; a long one in no order, for only its last tokens are sorted.

    Example: keys (3, 1, 2), weights (1, 1, 1), goal 2 → places (1, 2).
    """
    side: Literal["left", "right"] = "right" if beyond else "left"
    inside, edge = np.arange(0), np.arange(len(keys))
    if len(keys) > SHORT_LIST:
        low, high = float(keys.min()), float(keys.max())
        bins = ((keys - low) * np.float32((BINS - 1) / max(high - low, 1e-30))).astype(np.intp)
        mass = np.bincount(bins, weights=weights, minlength=BINS).cumsum()
        last = min(int(np.searchsorted(mass, goal, side=side)), BINS - 1)
        if np.count_nonzero(bins <= last) <= SHORT_LIST:
            edge = np.flatnonzero(bins <= last)
        else:
            inside, edge = np.flatnonzero(bins < last), np.flatnonzero(bins == last)
            goal -= float(mass[last - 1]) if last else 0.0
    edge = edge[np.argsort(keys[edge], kind="stable")]
    count = int(np.searchsorted(np.cumsum(weights[edge], dtype=np.float64), goal, side=side)) + 1
    return np.concatenate((inside, edge[:count])) if len(inside) else edge[:count]


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
