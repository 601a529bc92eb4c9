"""An answer on its way out: nothing leaves before it was checked."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.assistant.guard.events import Blocked, GuardEvent, Masked
from phi4local.assistant.guard.folded import fold
from phi4local.assistant.guard.masking import joined, masked
from phi4local.engine import Finished, Text

if TYPE_CHECKING:
    from phi4local.assistant.guard.checks import Checks
    from phi4local.assistant.guard.finding import Finding
    from phi4local.engine import Event

CONTEXT_CHARACTERS = 400
"""How much of what was let through is looked at again, so that a match is seen with what stands before it."""
MOST_HELD = 20_000
"""Only invisible characters can keep so much text undecided."""
_SHORTEST_SENTENCE = 40
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"\u201d'\u2019)\]*_]*\s|\n")


@dataclass(frozen=True, slots=True)
class _Held:
    """An event that waits; its text ends at the character `end` of the answer."""

    event: Text
    end: int


class OutputFilter:
    """Takes the events of an answer and gives back those that may be seen.

    Events come out as they went in, later: an event waits until all its text is decided, and one more,
    because a token's text may come one event after its id. Where something is masked, the events around it
    come out as one `Text` without ids. After `Blocked` only `Finished` follows.

    Args:
        checks: the rules for what the model says.
        window: characters that a judge or a service gets at once, if no sentence ends before.

    Attributes:
        blocked: what ended the answer, or `None`.
    """

    def __init__(self, checks: Checks, window: int) -> None:
        self.blocked: Blocked | None = None
        self._checks = checks
        self._window = window
        self._view = ""  # what was let through last, and all that waits
        self._base = 0  # where the view begins in the answer
        self._released = 0
        self._read = 0  # up to where judges and services have read
        self._held: list[_Held] = []
        self._masks: list[Finding] = []

    def push(self, event: Event) -> list[Event | GuardEvent]:
        """Take an event and return what may be seen by now."""
        if isinstance(event, Text):
            if self.blocked:
                return []
            self._view += event.delta
            self._held.append(_Held(event, self._base + len(self._view)))
            return self._step(final=False)
        if isinstance(event, Finished) and not self.blocked:
            return [*self._step(final=True), event]
        return [event]

    def _step(self, *, final: bool) -> list[Event | GuardEvent]:
        findings, decided = self._checks.look(fold(self._view), final=final)
        limit = self._base + decided
        found = [
            dataclasses.replace(one, start=self._base + one.start, end=self._base + one.end)
            for one in findings
            if self._base + one.end > self._released
        ]
        self._masks = joined(dict.fromkeys([*self._masks, *(one for one in found if one.action == "mask")]))
        stop = min((one for one in found if one.action == "block"), key=lambda one: one.start, default=None)
        out: list[Event | GuardEvent] = []
        if stop:
            final, limit = False, min(limit, stop.start)
            self.blocked = self._checks.blocked(stop.rule, stop.category, self._view)
        elif len(self._view) - (self._released - self._base) > MOST_HELD and not final:
            self.blocked = self._checks.blocked("window", "text that cannot be read", self._view)
        if self._checks.texts:
            limit = self._let_read(self._outside_masks(limit), out, final=final)
        out += self._release(limit, final=final and not self.blocked)
        return [*out, self.blocked] if self.blocked else out

    def _let_read(self, limit: int, out: list[Event | GuardEvent], *, final: bool) -> int:
        """Let judges and services read what is new, if it is enough; return up to where they allowed it."""
        if not self.blocked:
            end = limit if final else self._piece_end(limit)
            if self._view[self._read - self._base : end - self._base].strip():
                text = masked(self._view, self._masks_in_view(), 0, end - self._base)
                self.blocked, unchecked = self._checks.read(text)
                out += unchecked
            if not self.blocked:
                self._read = max(self._read, end)
        return min(limit, self._read)

    def _piece_end(self, limit: int) -> int:
        start = self._read - self._base
        ends = [found.end() for found in _SENTENCE_END.finditer(self._view, start, limit - self._base)]
        if ends and ends[-1] - start >= min(_SHORTEST_SENTENCE, self._window):
            return self._base + ends[-1]
        return limit if limit - self._read >= self._window else self._read

    def _release(self, limit: int, *, final: bool) -> list[Event | GuardEvent]:
        count = len(self._held) if final else self._count(limit)
        if not count:
            return []
        held, self._held = self._held[:count], self._held[count:]
        start, self._released = self._released, held[-1].end
        masks = [one for one in self._masks if start < one.end and one.start < self._released]
        events: list[Event | GuardEvent] = [one.event for one in held]
        if masks:
            events = [Masked(rule=one.rule, category=one.category) for one in masks]
            for one in masks:
                self._checks.note("masked", one.rule, one.category, self._view)
            text = masked(self._view, self._masks_in_view(), start - self._base, self._released - self._base)
            events.append(Text(text, ()))
        self._forget()
        return events

    def _count(self, limit: int) -> int:
        """Return how many of the waiting events may leave: see the class."""
        count = sum(1 for one in self._held if one.end <= limit)
        texts = [place for place, one in enumerate(self._held[:count]) if one.event.delta]
        if any(one.event.token_ids for one in self._held[texts[-1] if texts else 0 : count]):
            count = texts[-1] if texts else 0
        while count and self._is_inside_mask(count):
            count -= 1
        return count

    def _is_inside_mask(self, count: int) -> bool:
        """Return whether the first `count` events end in or right before a mask: they may hold its ids."""
        end = self._held[count - 1].end
        rest = self._held[count:]
        next_end = next((one.end for one in rest if one.event.delta), end) if rest else end
        return any(one.start < next_end and end < one.end for one in self._masks)

    def _outside_masks(self, limit: int) -> int:
        return min([limit, *(one.start for one in self._masks if one.start < limit < one.end)])

    def _masks_in_view(self) -> list[Finding]:
        return [
            dataclasses.replace(one, start=max(0, one.start - self._base), end=one.end - self._base)
            for one in self._masks
        ]

    def _forget(self) -> None:
        """Drop what is too long ago to matter."""
        base = max(self._base, min(self._released, self._read_from()) - CONTEXT_CHARACTERS)
        self._view = self._view[base - self._base :]
        self._base = base
        self._masks = [one for one in self._masks if one.end > base]

    def _read_from(self) -> int:
        return self._read if self._checks.texts else self._released
