"""The rules of one direction, applied to a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.assistant.guard.events import Blocked, Unchecked
from phi4local.errors import Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from phi4local.assistant.guard.finding import Direction, Finding, SpanRule, TextRule
    from phi4local.assistant.guard.folded import Folded
    from phi4local.assistant.guard.log import GuardLog

OVERLAP = 200
"""Characters that two pieces of a long text have in common, so that no sentence is read in halves only."""
NO_CHECK = "not checked"


@dataclass(frozen=True, slots=True)
class Checks:
    """What is checked in one direction, and where it is written down."""

    direction: Direction
    spans: Sequence[SpanRule]
    texts: Sequence[TextRule]
    log: GuardLog

    def look(self, folded: Folded, *, final: bool) -> tuple[list[Finding], int]:
        """Return what the rules for places found for certain, and up to where nothing is open.

        Args:
            folded: the text so far.
            final: nothing follows.
        """
        length = folded.places[-1]
        found: list[Finding] = []
        decided = length
        for rule in self.spans:
            here = length if final else rule.open_from(folded)
            found += [finding for finding in rule.find(folded) if finding.start < here]
            decided = min(decided, here)
        return found, decided

    def read(self, text: str) -> tuple[Blocked | None, list[Unchecked]]:
        """Let the rules that read whole texts read one, piece by piece; stop at the first that blocks it."""
        unchecked: list[Unchecked] = []
        for rule in self.texts:
            for piece in pieces(text, rule.most_characters):
                try:
                    category = rule.check(piece, self.direction)
                except Phi4LocalError as error:
                    if rule.on_failure == "block":
                        return self.failed(rule.name, error, text), unchecked
                    unchecked.append(self._let_through(rule.name, error, text))
                    break
                if category is not None:
                    return self.blocked(rule.name, category, text), unchecked
        return None, unchecked

    def blocked(self, rule: str, category: str, text: str) -> Blocked:
        """Write down that a text was blocked, and return what to say."""
        return self._block(rule, category, f"blocked by the guard: rule `{rule}` ({category})", text)

    def failed(self, rule: str, error: Phi4LocalError, text: str) -> Blocked:
        """Write down that a text was blocked because nobody could check it, and return what to say."""
        why = f"rule `{rule}` could not check this ({error}), and the policy blocks then"
        return self._block(rule, NO_CHECK, f"blocked by the guard: {why}", text)

    def note(self, action: str, rule: str, category: str, text: str) -> str:
        """Write something down; return what went wrong with that, as an ending of a message."""
        problem = self.log.add(self.direction, action, rule, category, text)
        return f"; {problem}" if problem else ""

    def _block(self, rule: str, category: str, message: str, text: str) -> Blocked:
        message += self.note("blocked", rule, category, text)
        return Blocked(rule=rule, category=category, message=message)

    def _let_through(self, rule: str, error: Phi4LocalError, text: str) -> Unchecked:
        message = f"not checked by the guard's rule `{rule}`: {error}"
        return Unchecked(rule=rule, message=message + self.note("unchecked", rule, NO_CHECK, text))


def pieces(text: str, most: int) -> Iterator[str]:
    """Yield a text in pieces of at most `most` characters that overlap; mostly it is one.

    A text without anything but white space has no pieces.
    """
    step = max(1, most - min(OVERLAP, most // 2))
    last = max(0, len(text) - (most - step))
    for start in range(0, max(1, last), step):
        piece = text[start : start + most]
        if piece.strip():
            yield piece
