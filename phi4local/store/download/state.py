"""What of an unfinished file is here, written down for the next process.

Two lists: what was written, which survives the death of a process, and what was forced to the disk, which
survives the loss of power too. The boot's id tells which one counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.store.download.ranges import Ranges

if TYPE_CHECKING:
    from phi4local.store.remote import RemoteFile

RECORD = "ranges.json"
"""Name of the record in the folder of an unfinished file."""
_VERSION = 1
_MOST_BYTES = 4 * 2**20
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class State:
    """The record beside a partial file.

    Args:
        path: where the record is.
        file: what is fetched; a record of another file, or of other bytes under its name, is no record.
    """

    def __init__(self, path: Path, file: RemoteFile) -> None:
        self._path = path
        # The digest names the bytes wherever they come from; without one, the place and commit do.
        self._identity = {"size": file.size_bytes, "bytes": file.sha256 or file.source}

    def read(self, partial_bytes: int) -> Ranges:
        """Return what is here of the file; nothing when the record is damaged or about something else.

        Args:
            partial_bytes: size of the partial file; a record that claims more is wrong.
        """
        try:
            with self._path.open("rb") as file:
                record = json.loads(file.read(_MOST_BYTES))
            if record["version"] != _VERSION or record["identity"] != self._identity:
                return Ranges()
            boot = _boot_id()
            pairs = record["written" if boot and record["boot"] == boot else "synced"]
            ranges = Ranges((int(begin), int(end)) for begin, end in pairs)
            inside = all(0 <= begin < end <= partial_bytes for begin, end in ranges)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return Ranges()
        return ranges if inside else Ranges()

    def write(self, written: Ranges, synced: Ranges) -> None:
        """Replace the record.

        Raises:
            OSError: the operating system refused.
        """
        record = {
            "version": _VERSION,
            "identity": self._identity,
            "boot": _boot_id(),
            "written": written.pairs(),
            "synced": synced.pairs(),
        }
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(record, separators=(",", ":")), encoding="utf-8")
        fresh.replace(self._path)


def _boot_id() -> str:
    """Return what is another text after each start of the machine, or nothing where there is none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
