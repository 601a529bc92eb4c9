"""Which guesses of a step are right: those that the model chooses from its own logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.engine.cache import Cache
    from phi4local.engine.events import FinishReason
    from phi4local.engine.sequence import Sequence
    from phi4local.native.context import NativeContext


def take_tokens(sequence: Sequence, context: NativeContext, cache: Cache, row: int) -> FinishReason | None:
    """Choose tokens while the guesses are right, and one more; return why the answer ends, if it does.

    Each is chosen from its own row by the request's whole chain, as it would be without guesses: penalties,
    random numbers and stop texts meet the same tokens in the same order. A guess is right when it is what was
    chosen, so the distribution of answers is the model's own. The cells of wrong guesses are dropped.

    Args:
        sequence: its last piece of the batch had its newest tokens and its draft.
        context: its `decode` has just finished.
        cache: where the sequence's cells are.
        row: of the last token of the piece; the draft's other rows stand before it.

    Raises:
        NonFiniteLogitsError: the logits are not numbers.
    """
    draft, sequence.draft = sequence.draft, []
    drafter, reason = sequence.drafter, None
    if drafter is not None:
        drafter.drafted += len(draft)
    for place in range(len(draft) + 1):
        reason = sequence.take_token(context, row - len(draft) + place)
        right = place < len(draft) and sequence.tokens[-1] == draft[place]
        if drafter is not None:
            drafter.note(right=right)
        if reason is not None or not right:
            break
    evaluated = len(sequence.tokens) - 1  # the newest token was chosen and not evaluated
    if sequence.holding is not None and cache.cells.length(sequence.holding.number) > evaluated:
        cache.trim(sequence.holding, evaluated)
    return reason
