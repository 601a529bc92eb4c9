"""Log-probabilities of the model's own distribution. Imported only when a request asks for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from phi4local.engine.events import TokenLogprob


def token_logprob(logits: Any, tokens: int, token: int, alternatives: int) -> TokenLogprob:  # noqa: ANN401
    """Return the log-probability of `token` and of the likeliest tokens.

    Log-softmax of the raw logits, before bias, penalties, temperature and every other setting.

    Args:
        logits: pointer to the row, float32, `(tokens,)`.
        tokens: size of the vocabulary.
        token: the chosen one.
        alternatives: how many likely tokens to list, best first; the lower id first when two are equal.

    Example: logits (0, ln 3) and token 0 → -1.386, the logarithm of 1/4.
    """
    row = np.ctypeslib.as_array(logits, (tokens,))
    largest = row.max()
    normaliser = float(largest) + float(np.log(np.exp(row - largest).sum(dtype=np.float64)))
    count = min(alternatives, tokens)
    top: tuple[tuple[int, float], ...] = ()
    if count:
        threshold = np.partition(row, tokens - count)[tokens - count]
        likely = np.flatnonzero(row >= threshold)
        best = likely[np.argsort(-row[likely], kind="stable")][:count]
        top = tuple((int(id_), float(row[id_]) - normaliser) for id_ in best)
    return TokenLogprob(token, float(row[token]) - normaliser, top)
