"""The lanes of a model: one, or with LongRoPE a second one for long sequences.

Phi-4-mini rotates with other factors when a sequence is longer than 4,096 tokens, and llama.cpp chooses them
for a whole context. So a conversation begins in the short lane, and moves once to the long one, where it is
evaluated again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.engine.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.engine.model import LoadedModel


class Lanes:
    """All lanes of one model; the long one is made when it is first needed.

    Example: 4,096 tokens of short context → `lane_for(4096)` is the first lane, `lane_for(4097)` another.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._made = [Lane(model, model.context)]

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._made)

    def lane_for(self, tokens: int) -> Lane:
        """Return the lane for a sequence of so many tokens.

        Raises:
            EngineError: there is no memory for the second context.
        """
        return self.lane(long=tokens > self._made[0].limit_tokens)

    def lane(self, *, long: bool) -> Lane:
        """Return one of the lanes; without LongRoPE there is only one.

        Raises:
            EngineError: there is no memory for the second context.
        """
        if not long or not self._model.has_two_contexts:
            return self._made[0]
        if len(self._made) == 1:
            self._made.append(Lane(self._model, self._model.new_context(long=True)))
        return self._made[1]
