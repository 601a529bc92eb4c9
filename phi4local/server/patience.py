"""How long a client may let the server wait: for a request's header, and for reading its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h11

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(slots=True)
class _Wait:
    """What a connection is waited for, since when, and what it had not read then."""

    what: str
    since: float
    unread_bytes: int = 0


class Patience:
    """Finds connections whose clients do nothing; `run` asks twice a second, and hangs up on those.

    A client has so many seconds to send a whole header, however it drips, and the rest of a body that nobody
    wants any more; and one that has to read must read something in that time. Waiting for an answer, and
    resting between two requests (uvicorn ends that after five seconds), is nobody's fault. Bodies have a time
    of their own, in `limits`.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waits: dict[Any, _Wait] = {}

    def late(self, connections: Iterable[Any], now: float) -> Iterator[Any]:
        """Yield the connections that are waited for too long.

        Args:
            connections: uvicorn's `H11Protocol`s.
            now: seconds on a clock that never goes back.
        """
        waits: dict[Any, _Wait] = {}
        for connection in connections:
            if (wait := self._wait(connection, now)) is not None:
                waits[connection] = wait
                if now - wait.since > self._seconds:
                    yield connection
        self._waits = waits

    def _wait(self, connection: Any, now: float) -> _Wait | None:  # noqa: ANN401 - uvicorn has no name for it
        before = self._waits.get(connection)
        unread = connection.transport.get_write_buffer_size()
        what = "reader" if unread else _unsent(connection)
        if what is None:
            return None
        if before is None or before.what != what or unread < before.unread_bytes:
            return _Wait(what, now, unread)
        before.unread_bytes = unread
        return before


def _unsent(connection: Any) -> str | None:  # noqa: ANN401
    """Return what a client has yet to send, or `None` for nothing that keeps the server waiting."""
    theirs, cycle = connection.conn.their_state, connection.cycle
    answered = cycle is None or cycle.response_complete
    if theirs is h11.IDLE and answered and connection.timeout_keep_alive_task is None:
        return "header"
    if theirs is h11.SEND_BODY and answered:
        return "rest of a body"
    return None
