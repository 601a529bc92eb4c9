"""Which of several sequences computes values that are not numbers? Found out one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence as SequenceOf

    from phi4local.engine.sequence import Sequence


class Trial:
    """Keeps the suspects after a step whose logits were not numbers.

    In a shared cache such values spread: kernels read masked and free cells too, and zero times NaN is NaN.
    So the cells are wiped, and every sequence is evaluated by itself up to its next token. Who fails alone is
    guilty; the others go on as if nothing had been.
    """

    def __init__(self) -> None:
        self._suspects: list[Sequence] = []

    def next(self, live: SequenceOf[Sequence]) -> Sequence | None:
        """Return who has to be evaluated alone now; `None` when there is no suspicion."""
        self._suspects = [sequence for sequence in self._suspects if sequence in live]
        return self._suspects[0] if self._suspects else None

    def acquit(self, sequence: Sequence) -> None:
        """Note that a sequence has chosen a token."""
        if sequence in self._suspects:
            self._suspects.remove(sequence)

    def convicts(self, sequence: Sequence, live: SequenceOf[Sequence]) -> bool:
        """Return whether a sequence without logits is guilty; if not, all live ones are suspects now."""
        if self._suspects[:1] == [sequence] or len(live) == 1:
            self.acquit(sequence)
            return True
        self._suspects = list(live)
        return False

    def give_up(self) -> None:
        """Let everybody go on together: the one on trial finds no room for itself."""
        self._suspects.clear()
