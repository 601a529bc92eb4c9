"""Mirostat: keep as many tokens as bring the surprise of the text to a constant.

Written here and not left to llama.cpp's samplers, because those sort the whole vocabulary for every token
(5.5 ms for 100,352 tokens) and keep their state to themselves. The random number is llama.cpp's.

Source: Basu et al., https://arxiv.org/abs/2007.14966; llama_sampler_mirostat_apply and _v2_apply in
src/llama-sampler.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from phi4local.engine.sampling import filters
from phi4local.engine.sampling.candidates import Candidates, apply_samplers, draw_from_long_list, weights_of

if TYPE_CHECKING:
    from phi4local.native.sampler import NativeSampler


class Mirostat:
    """State of one request.

    Args:
        version: 1 estimates from the best tokens how many to keep; 2 keeps those below a surprise.
        tau: the surprise aimed at, in bits.
        eta: how much of each token's error is corrected.
        vocabulary_tokens: size of the vocabulary.
        sampler: llama.cpp's `dist`.
    """

    ESTIMATED_FROM = 100
    """Best tokens from which version 1 estimates; llama.cpp's constant (common/sampling.cpp)."""

    def __init__(
        self, version: int, tau: float, eta: float, *, vocabulary_tokens: int, sampler: NativeSampler
    ) -> None:
        self._version = version
        self._tau = tau
        self._eta = eta
        self._tokens = vocabulary_tokens
        self._sampler = sampler
        self.largest_surprise = 2 * tau

    def choose(self, candidates: Candidates) -> int:
        """Choose a token id, and correct the state."""
        kept = self._likeliest(candidates) if self._version == 1 else self._least_surprising(candidates)
        weights, total = weights_of(kept.logits)
        place = self._draw(kept)
        surprise = -math.log2(float(weights[place]) / total)
        self.largest_surprise -= self._eta * (surprise - self._tau)
        return kept.id_at(place)

    def _draw(self, kept: Candidates) -> int:
        if len(kept.logits) == 1:
            return 0  # llama.cpp's mirostat takes no random number here
        if kept.short:
            return apply_samplers(kept._replace(ids=None), [self._sampler]).chosen
        return draw_from_long_list(kept, self._sampler)

    def _least_surprising(self, candidates: Candidates) -> Candidates:
        weights, total = weights_of(candidates.logits)
        places = np.flatnonzero(weights >= total * np.exp2(-self.largest_surprise))
        if not len(places):
            places = np.array([weights.argmax()])
        return _best_first(candidates.at(places))

    def _likeliest(self, candidates: Candidates) -> Candidates:
        count = len(candidates.logits)
        some, _done = filters.top_k(candidates, min(self.ESTIMATED_FROM, count))
        best = np.sort(some.logits.astype(np.float64))[::-1][: self.ESTIMATED_FROM]
        ranks = np.arange(1, len(best))
        spacing = np.log((ranks + 1) / ranks)
        slope = float(spacing @ (best[:-1] - best[1:])) / float(spacing @ spacing)
        k = min(max(self._tokens_to_keep(slope), 1), count)
        kept, done = filters.top_k(candidates, k)
        kept = _best_first(kept)
        return kept if done else kept.at(np.arange(k), ordered=True)

    def _tokens_to_keep(self, slope: float) -> int:
        """Return k of a Zipf distribution with this slope. Where llama.cpp's integer overflows, keep all."""
        excess = np.float64(slope - 1)
        with np.errstate(all="ignore"):
            k = (excess * np.exp2(self.largest_surprise) / (1 - self._tokens**-excess)) ** (
                1 / np.float64(slope)
            )
        return self._tokens if not k < self._tokens else int(k)


def _best_first(candidates: Candidates) -> Candidates:
    if not candidates.short:
        return candidates
    return candidates.at(np.argsort(-candidates.logits, kind="stable"), ordered=True)
