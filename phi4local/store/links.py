"""Blobs whose bytes another program or person owns: linked into the store, never copied, moved or touched.

A hard link if the file is on the same disk and ours; it stays whole when the owner deletes the file.
Otherwise a symbolic link, which ends when the file does. `links.json` remembers whose file each one is.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from phi4local import files
from phi4local.errors import StoreError
from phi4local.store import blobs
from phi4local.store.home import blobs_folder, make_models_folder, models_folder

if TYPE_CHECKING:
    from pathlib import Path

_RECORD_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Where a linked blob's bytes are.

    Attributes:
        path: the file, links followed.
        owner: `Ollama`, `LM Studio`, `llama.cpp`, `Hugging Face`, `ModelScope`, or `you`.
        hard: it is a hard link, which its owner cannot take away.
    """

    path: str
    owner: str
    hard: bool


def link(path: Path, digest: str, owner: str) -> Link:
    """Make a file the blob of a digest that the caller has proved; the file itself stays as it is.

    Example: `link(Path("~/.ollama/models/blobs/sha256-fd7b…"), "fd7b…", "Ollama")`.

    Raises:
        StoreError: no regular file.
        FileWriteError: the operating system refused.
    """
    make_models_folder()
    target, blob = path.resolve(), blobs.blob_path(digest)
    try:
        state = target.stat()
        if not stat.S_ISREG(state.st_mode):
            raise StoreError(path, "is no regular file")
        blobs_folder().mkdir(exist_ok=True)
        blob.unlink(missing_ok=True)
        hard = _link(target, blob, state)
    except OSError as error:
        raise files.write_error(blob, error) from error
    made = Link(path=str(target), owner=owner, hard=hard)
    _write({**_read(), digest: asdict(made)})
    blobs.remember_verified(digest)
    return made


def all_links() -> dict[str, Link]:
    """Return the links that are still there, by digest."""
    found = {}
    for digest, values in _read().items():
        try:
            there = os.path.lexists(blobs.blob_path(digest))
            if there:
                found[digest] = Link(**values)
        except (TypeError, StoreError):
            continue
    return found


def missing_reason(digest: str) -> str | None:
    """Return why a linked blob is gone, or `None` when it is not linked or not gone."""
    made = all_links().get(digest)
    if made is None or blobs.blob_path(digest).exists():
        return None
    return f"{made.owner} owned `{made.path}`, and it is not there any more"


def _link(target: Path, blob: Path, state: os.stat_result) -> bool:
    # Another user's file may not be linked hard (protected_hardlinks), and should not be.
    if not hasattr(os, "getuid") or state.st_uid == os.getuid():
        try:
            os.link(target, blob)
        except OSError:
            pass
        else:
            return True
    blob.symlink_to(target)
    return False


def _read() -> dict[str, Any]:
    try:
        with (models_folder() / "links.json").open("rb") as file:
            record = json.loads(file.read(_RECORD_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _write(record: dict[str, Any]) -> None:
    with files.new_file(models_folder() / "links.json", overwrite=True) as file:
        file.write(json.dumps(record, indent=1).encode())
