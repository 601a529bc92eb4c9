"""How far something is: one report for pulling, converting and loading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.store.download import Report


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


class Together:
    """Reports about single files in, reports about all of them out.

    Args:
        total_bytes: of all files.
        tell: gets the reports.
        here_bytes: of files that need no download; they count as done.
    """

    def __init__(self, total_bytes: int, tell: Callable[[Progress], None], *, here_bytes: int = 0) -> None:
        self._tell, self._total, self._here = tell, total_bytes, here_bytes
        self._done: dict[str, int] = {}
        self._speed: dict[str, float] = {}
        self._reused: dict[str, int] = {}

    def __call__(self, report: Report) -> None:
        """Take a report about one file."""
        path = report.file.path
        self._done[path] = max(report.done_bytes, self._done.get(path, 0))
        self._reused[path] = report.reused_bytes
        self._speed[path] = report.bytes_per_second if report.done_bytes < report.file.size_bytes else 0.0
        self._tell(
            Progress(
                "pulling",
                self._here + sum(self._done.values()),
                self._total,
                reused=self._here + sum(self._reused.values()),
                bytes_per_second=sum(self._speed.values()),
                note=report.note,
            )
        )
