"""How far something is: one report for pulling, converting and loading."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far opening or pulling is.

    Attributes:
        stage: `reading` (a server's list), `pulling`, `checking` or `converting` (bytes); `loading`,
            `comparing` or `measuring` (per cent).
        done: never less than in the report before, in one stage.
        total: what `done` grows to; 0 when that is not known.
        reused: bytes of `done` that were here before.
        bytes_per_second: while bytes come, how fast.
        note: what happens instead, such as a wait for a server.
    """

    stage: str
    done: int
    total: int
    reused: int = 0
    bytes_per_second: float | None = None
    note: str = ""
