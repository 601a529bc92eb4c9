"""How many tokens a step may have, so that it takes no longer than its limit."""

from __future__ import annotations

STEP_SECONDS = 0.25
"""Default limit of a step: cancelling takes effect, and other sequences go on, that soon."""
_AIM = 0.95
"""Share of the limit to aim at: a step of the same size takes longer further into the context."""
_GROUP = 4
"""ggml computes rows in groups of four: a step of 33 tokens costs as much as one of 36."""
_FIRST_TOKENS = 8
"""The size of the first step, before anything was measured: short on any machine."""


class Pace:
    """Adapt the size of the next step to the time of the last ones.

    Args:
        limit_seconds: longest step; 0 for no limit.
        batch_tokens: most tokens of a step, whatever its time.

    Example: 64 tokens took 0.13 s, the limit is 0.25 s → the next step may have 116 tokens.
    """

    def __init__(self, limit_seconds: float, batch_tokens: int) -> None:
        self._limit_seconds = limit_seconds
        self._batch_tokens = batch_tokens
        self.step_tokens = min(_FIRST_TOKENS, batch_tokens) if limit_seconds else batch_tokens

    def observe(self, tokens: int, seconds: float) -> None:
        """Take the size and the time of a finished step.

        Steps much smaller than allowed tell little about larger ones: their time is that of reading the
        weights once. They count only when even they were too long.
        """
        if not self._limit_seconds or (2 * tokens < self.step_tokens and seconds < self._limit_seconds):
            return
        fitting = int(tokens * _AIM * self._limit_seconds / max(seconds, 1e-6))
        fitting = min(fitting, 2 * self.step_tokens, self._batch_tokens)  # one step can be lucky
        self.step_tokens = max(1, fitting - fitting % _GROUP if fitting > _GROUP else fitting)


def divide(budget: int, wanted: list[int]) -> list[int]:
    """Divide the tokens of a step among prompts: equal shares, and what one does not need goes to the rest.

    Example: 100 tokens for prompts of 10, 500 and 500 → 10, 45, 45.
    """
    shares = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    for place, i in enumerate(order):
        shares[i] = min(wanted[i], -(-budget // (len(order) - place)))
        budget -= shares[i]
    return shares
