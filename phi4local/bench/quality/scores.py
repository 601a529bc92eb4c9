"""From logits to numbers, position by position: log-likelihoods, stored log-probabilities, KL divergence.

Everything works on blocks of rows that stay in a core's cache. Numbers are float32 where llama-perplexity's
are, sums are float64.

Source: the functions `log_softmax` in tools/perplexity/perplexity.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phi4local.errors import NonFiniteLogitsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BLOCK_VALUES = 1 << 17
"""Logits that are worked on together: half a megabyte, and as much again for the results."""
DEEPEST = np.float32(16.0)
"""Stored log-probabilities end so far below the best one; likelier tokens are exact to 1/65535 of that."""
_STEPS = np.float32(65535.0)


@dataclass(frozen=True, slots=True)
class Compared:
    """What comparing some positions with the base gave; each array has the shape `(positions,)`.

    Attributes:
        losses: negative log-likelihood of the token that follows, in nats.
        base_losses: the same of the base, as far as the 16 bits hold it.
        divergences: KL(base ‖ model), in nats.
        probability_differences: the model's probability of that token less the base's.
        same_best: whether both have the same most likely token.
    """

    losses: NDArray[np.float64]
    base_losses: Floats
    divergences: NDArray[np.float64]
    probability_differences: Floats
    same_best: NDArray[np.bool_]


def stored_width(vocabulary_tokens: int) -> int:
    """Return the 16-bit numbers of a stored position: two float32, the tokens, and one to make it even.

    Example: 8192 → 8196; 32011 → 32016.
    """
    return 2 * ((vocabulary_tokens + 1) // 2) + 4


class Scorer:
    """Scores rows of logits in threads.

    Args:
        vocabulary_tokens: width of a row.
        threads: how many work at the same time.

    Example: the loss of token 0 under logits `[0, 0]` is ln 2 = 0.693.
    """

    def __init__(self, vocabulary_tokens: int, threads: int) -> None:
        self._width = vocabulary_tokens
        self._rows = max(1, BLOCK_VALUES // vocabulary_tokens)
        self._pool = ThreadPoolExecutor(threads)

    def losses(self, logits: Floats, targets: NDArray[np.int32], position: int) -> NDArray[np.float64]:
        """Return the negative log-likelihood of each row's target.

        Args:
            logits: `(rows, vocab)`.
            targets: token that follows, `(rows,)`.
            position: of the first row, for the error.

        Raises:
            NonFiniteLogitsError: a row holds NaN or infinity.
        """
        found = np.empty(len(targets), np.float64)

        def work(place: slice) -> None:
            rows = logits[place]
            best, log_sum, _ = _log_sums(rows, position + place.start)
            found[place] = log_sum - (_chosen(rows, targets[place]) - best)

        self._run(work, len(targets))
        return found

    def store(
        self, logits: Floats, targets: NDArray[np.int32], position: int
    ) -> tuple[NDArray[np.float64], NDArray[np.uint16]]:
        """Return the losses, and the log-probabilities as 16-bit numbers, `(rows, stored_width)`.

        A row begins with two float32, `scale` and `least`; the log-probability of token i is
        `scale * stored[4 + i] + least`.

        Raises:
            NonFiniteLogitsError: as `losses`.
        """
        found = np.empty(len(targets), np.float64)
        stored = np.zeros((len(targets), stored_width(self._width)), np.uint16)

        def work(place: slice) -> None:
            rows = logits[place]
            best, log_sum, scratch = _log_sums(rows, position + place.start)
            found[place] = log_sum - (_chosen(rows, targets[place]) - best)
            least = np.maximum(rows.min(axis=1), best - DEEPEST)
            scale = (best - least) / _STEPS
            head = np.stack((scale, least - best - log_sum.astype(np.float32)), axis=1)
            stored[place, :4] = head.view(np.uint16)
            steps = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale > 0)
            np.subtract(rows, least[:, None], out=scratch)
            np.multiply(scratch, steps[:, None], out=scratch)
            np.maximum(scratch, 0, out=scratch)
            np.rint(scratch, out=scratch)
            stored[place, 4 : 4 + self._width] = scratch

        self._run(work, len(targets))
        return found, stored

    def compare(
        self, logits: Floats, targets: NDArray[np.int32], stored: NDArray[np.uint16], position: int
    ) -> Compared:
        """Compare rows with what `store` kept of the base's.

        Raises:
            NonFiniteLogitsError: as `losses`.
        """
        count = len(targets)
        result = Compared(
            losses=np.empty(count, np.float64),
            base_losses=np.empty(count, np.float32),
            divergences=np.empty(count, np.float64),
            probability_differences=np.empty(count, np.float32),
            same_best=np.empty(count, np.bool_),
        )

        def work(place: slice) -> None:
            self._compare_block(logits[place], targets[place], stored[place], result, place, position)

        self._run(work, count)
        return result

    def _compare_block(
        self,
        rows: Floats,
        targets: NDArray[np.int32],
        stored: NDArray[np.uint16],
        result: Compared,
        place: slice,
        position: int,
    ) -> None:
        best, log_sum, scratch = _log_sums(rows, position + place.start)
        head = np.ascontiguousarray(stored[:, :4]).view(np.float32)
        base = stored[:, 4 : 4 + self._width] * head[:, :1]
        base += head[:, 1:]
        total = best + log_sum.astype(np.float32)
        result.losses[place] = log_sum - (_chosen(rows, targets) - best)
        result.base_losses[place] = -_chosen(base, targets)
        result.same_best[place] = base.argmax(axis=1) == rows.argmax(axis=1)
        np.subtract(base, rows, out=scratch)
        scratch += total[:, None]
        likely = base > -DEEPEST
        np.exp(base, out=base)
        scratch *= base
        scratch *= likely  # a product with 0 and 1; assigning by a mask takes fifteen times as long
        result.divergences[place] = scratch.sum(axis=1, dtype=np.float64)
        base_losses = result.base_losses[place]
        losses = result.losses[place].astype(np.float32)
        result.probability_differences[place] = np.exp(-losses) - np.exp(-base_losses)

    def _run(self, work: Callable[[slice], None], count: int) -> None:
        places = [slice(start, min(start + self._rows, count)) for start in range(0, count, self._rows)]
        for _ in self._pool.map(work, places):
            pass

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()


def _log_sums(rows: Floats, position: int) -> tuple[Floats, NDArray[np.float64], Floats]:
    """Return each row's largest logit, ln of the sum of exp(logit - largest), and scratch space."""
    best = rows.max(axis=1)
    with np.errstate(invalid="ignore"):  # infinity less infinity; refused below
        scratch = np.subtract(rows, best[:, None])
        np.exp(scratch, out=scratch)
    log_sum = np.log(scratch.sum(axis=1, dtype=np.float64))
    if not (np.isfinite(log_sum).all() and np.isfinite(best).all()):
        broken = ~(np.isfinite(log_sum) & np.isfinite(best))
        raise NonFiniteLogitsError(position + int(broken.argmax()))
    return best, log_sum, scratch


def _chosen(rows: Floats, targets: NDArray[np.int32]) -> Any:  # noqa: ANN401 - (rows,), of the rows' type
    return rows[np.arange(len(targets)), targets]
