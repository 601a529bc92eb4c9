"""How to download, and what is told meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phi4local.store.remote import RemoteFile


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadSettings:
    """How a file is fetched; the defaults are right for people, the tests have less patience.

    Attributes:
        connections: streams at the same time, 1 to 16.
        part_bytes: how much one stream takes at a time. Short parts keep the beginning of the file closed, so
            that it can be hashed while the rest comes.
        record_bytes: after so many new bytes, over all streams, what is there is written down. It bounds what
            a killed process makes the next one fetch again, together with what was on its way.
        sync_seconds: how often the bytes are forced to the disk, for the case that the power goes.
        stall_seconds: a stream that brings less than `slow_bytes_per_second` for so long is replaced.
        slow_bytes_per_second: see there.
        tries: attempts in a row of each stream while all together bring less than `progress_bytes`; with the
            waits between them a minute without a network.
        progress_bytes: see there.
        first_wait_seconds: before the second attempt; it doubles with each one.
        longest_wait_seconds: of those; a server that asks for more gets up to `longest_pause_seconds`.
        longest_pause_seconds: see there.
    """

    connections: int = 4
    part_bytes: int = 16 * 2**20
    record_bytes: int = 4 * 2**20
    sync_seconds: float = 5.0
    stall_seconds: float = 30.0
    slow_bytes_per_second: int = 1024
    tries: int = 8
    progress_bytes: int = 64 * 2**10
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0
    longest_pause_seconds: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How far one file is.

    Attributes:
        file: which.
        done_bytes: what is here; never less than in the report before.
        reused_bytes: of those, what an earlier try had left.
        bytes_per_second: over the last seconds.
        note: what happens instead of progress, such as a wait for a busy server.
    """

    file: RemoteFile
    done_bytes: int
    reused_bytes: int
    bytes_per_second: float
    note: str = ""
