"""Tokens that may still be chosen, and llama.cpp's samplers over a short list of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from phi4local.native.sampler import NativeCandidates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from phi4local.native.sampler import NativeSampler

Array: TypeAlias = np.ndarray[Any, Any]

SHORT_LIST = 4096
"""Candidates that llama.cpp's samplers get through in at most 0.1 ms, and numpy sorts in as much."""
BLOCK = 64
"""Tokens that a long draw takes together first. 100,352 tokens are 1,568 blocks."""
_NEVER = np.float32(-200)
"""A shifted logit whose weight is 0 in float32, and whose product with it is 0 too."""
_RECORD = np.dtype([("id", np.int32), ("logit", np.float32), ("probability", np.float32)])


class Candidates(NamedTuple):
    """Tokens that may still be chosen.

    Attributes:
        logits: float32, `(count,)`.
        ids: their token ids, `(count,)`, or `None` for the whole vocabulary in order.
        ordered: whether they stand best first.
    """

    logits: Array
    ids: Array | None = None
    ordered: bool = False

    @property
    def short(self) -> bool:
        """Whether the list is short enough for llama.cpp's samplers."""
        return len(self.logits) <= SHORT_LIST

    def at(self, places: Array, *, ordered: bool = False) -> Candidates:
        """Return the candidates at `places`, in that order."""
        return Candidates(self.logits[places], places if self.ids is None else self.ids[places], ordered)

    def id_at(self, place: int) -> int:
        """Return one token id."""
        return int(place if self.ids is None else self.ids[place])


def weights_of(logits: Array) -> tuple[Array, float]:
    """Return the probabilities before they are divided by their sum, and the sum.

    Example: logits (0, -ln 3) → weights (1, 1/3), sum 4/3.
    """
    weights = np.exp(logits - logits.max())
    return weights, float(weights.sum())  # numpy adds in pairs: good to the seventh digit


def surprise_of(logits: Array) -> tuple[Array, float]:
    """Return minus the logarithm of each probability, and their mean: the entropy, in nats.

    Example: logits (0, -ln 3) → surprise (0.288, 1.386), entropy 0.562.
    """
    shifted = logits - logits.max()
    np.maximum(shifted, _NEVER, out=shifted)
    weights = np.exp(shifted)
    total = float(weights.sum())
    return np.float32(math.log(total)) - shifted, math.log(total) - float(weights @ shifted) / total


def apply_samplers(candidates: Candidates, samplers: Iterable[NativeSampler]) -> NativeCandidates:
    """Run llama.cpp's samplers over a copy of the candidates, one after the other."""
    records = np.empty(len(candidates.logits), _RECORD)
    records["id"] = np.arange(len(records)) if candidates.ids is None else candidates.ids
    records["logit"] = candidates.logits
    native = NativeCandidates(records, records.ctypes.data, ordered=candidates.ordered)
    for sampler in samplers:
        sampler.apply(native)
    return native


def draw_from_long_list(candidates: Candidates, sampler: NativeSampler) -> int:
    """Choose from many candidates as llama.cpp's `dist` would, and return the place.

    `dist` goes through the list until the running sum passes one random number. The sums of whole blocks
    tell in which block that happens; a twin of the sampler, which draws the same number, then finds the
    token in it. Only the rounding of the sums differs, in the seventh digit.
    """
    weights, _total = weights_of(candidates.logits)
    if len(weights) % BLOCK:
        weights = np.concatenate((weights, np.zeros(-len(weights) % BLOCK, np.float32)))
    weights = weights.reshape(-1, BLOCK)
    sums = weights @ np.ones(BLOCK, np.float32)
    twin = sampler.clone()
    try:
        block = apply_samplers(Candidates(_logs(sums)), [sampler]).chosen
        around = np.array((sums[:block].sum(), *weights[block], sums[block + 1 :].sum()), np.float32)
        place = apply_samplers(Candidates(_logs(around)), [twin]).chosen - 1
    finally:
        twin.close()
    likely = np.flatnonzero(weights[block])  # rounding may have put the number just outside the block
    return block * BLOCK + int(np.clip(place, likely[0], likely[-1]))


def _logs(weights: Array) -> Array:
    with np.errstate(divide="ignore"):  # log(0) is -inf: never chosen
        return np.log(weights)
