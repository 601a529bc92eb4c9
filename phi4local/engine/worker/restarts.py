"""Whether to start the engine process once more."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING

from phi4local.errors import EngineRestartError

if TYPE_CHECKING:
    from phi4local.errors import EngineError

EARLY_DEATHS = 3
WINDOW_SECONDS = 60.0
PAUSE_SECONDS = 30.0


class RestartLimit:
    """Refuses another start after `EARLY_DEATHS` within `WINDOW_SECONDS`, until `PAUSE_SECONDS` have passed.

    An early death is one before the first text of a life: the model, the machine or the library is at fault,
    and trying again at once would only load gigabytes in a circle. A death after some text needs no limit:
    each one has cost somebody an answer, and only a new request brings the next.

    After the pause one more start is allowed; if that life ends early too, the next pause begins.
    """

    def __init__(self) -> None:
        self._early: collections.deque[tuple[float, EngineError]] = collections.deque(maxlen=EARLY_DEATHS)

    def note_death(self, cause: EngineError, *, early: bool, now: float | None = None) -> None:
        """Remember a life that ended before its first text; one that ended later is no sign of a circle."""
        if early:
            self._early.append((time.monotonic() if now is None else now, cause))
        else:
            self._early.clear()

    def check(self, *, now: float | None = None) -> None:
        """Return when a start is allowed.

        Raises:
            EngineRestartError: it is not, with the last death as its reason.
        """
        if len(self._early) < EARLY_DEATHS:
            return
        now = time.monotonic() if now is None else now
        (first, _), (last, cause) = self._early[0], self._early[-1]
        wait_seconds = last + PAUSE_SECONDS - now
        if last - first <= WINDOW_SECONDS and wait_seconds > 0:
            raise EngineRestartError(
                f"the engine process died {EARLY_DEATHS} times before its first word; the last time: {cause}",
                hint=f"ask again in {wait_seconds:.0f} seconds; a smaller `--context` needs less memory",
                wait_seconds=wait_seconds,
            )
