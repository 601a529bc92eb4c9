"""The folder of the models: room, permissions, manifests, blobs. Nothing is hashed, nothing is written."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from typing import TYPE_CHECKING

from phi4local.doctor import memory
from phi4local.doctor.result import OK, WARNING, WRONG, Result
from phi4local.store import blobs, links, manifests, remove
from phi4local.store.home import blobs_folder, home, manifests_folder, unfinished_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from phi4local.errors import StoreError
    from phi4local.store.manifests import StoredManifest

_TIGHT_BYTES = 10**9
_OLD_SECONDS = 24 * 3600
_SHOWN = 3


def check() -> Iterator[Result]:
    """Yield what is to say about the disk, what is kept on it, and what was left unfinished."""
    folder = home()
    there = _nearest(folder)
    if not there.is_dir():
        seen = f"{folder}: {there} is no folder"
        yield Result(name="disk", state=WRONG, seen=seen, advice="set PHI4LOCAL_HOME to another folder")
        return
    yield _check_disk(folder, there)
    yield _check_models()
    yield _check_unfinished()


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest parent that exists."""
    return next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)


def _check_disk(folder: Path, there: Path) -> Result:
    free_bytes = shutil.disk_usage(there).free
    file_bytes = memory.shape(memory.FAMILY[0]).weight_bytes
    seen = f"{free_bytes / 1e9:.1f} GB free in {folder}"
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        seen = f"{there} may not be {'read' if not os.access(there, os.R_OK) else 'written'}"
        command = shlex.join(["chmod", "u+rwx", str(there)])
        advice = "allow it, or set PHI4LOCAL_HOME to a folder of yours"
        return Result(name="disk", state=WRONG, seen=seen, advice=advice, command=command)
    if free_bytes < file_bytes:
        state = WRONG if free_bytes < _TIGHT_BYTES else WARNING
        seen += f"; {memory.FAMILY[0]} takes {file_bytes / 1e9:.1f}"
        advice = "free some space, or set PHI4LOCAL_HOME to another disk; this lists what models take"
        return Result(name="disk", state=state, seen=seen, advice=advice, command="phi4local du")
    return Result(name="disk", state=OK, seen=seen)


def _check_models() -> Result:
    """Read every manifest, and look whether its blobs are there with the right size."""
    unreadable = [*_unreadable_folders(manifests_folder()), *_unreadable_folders(blobs_folder())]
    if unreadable:
        seen = f"{unreadable[0]} cannot be read"
        command = shlex.join(["chmod", "-R", "u+rwX", str(unreadable[0])])
        return Result(name="store", state=WRONG, seen=seen, command=command)
    damaged: list[StoreError] = []
    found = list(manifests.all_manifests(damaged=damaged))
    problems = [str(error) for error in damaged]
    for manifest in found:
        problems += _problems_of(manifest)
    if problems:
        more = f", and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        advice = "get it again with `phi4local pull` after `phi4local rm`; this shows all"
        seen = "; ".join(problems[:_SHOWN]) + more
        return Result(name="store", state=WRONG, seen=seen, advice=advice, command="phi4local verify")
    kept_bytes = sum({layer.digest: layer.size_bytes for one in found for layer in one.layers}.values())
    seen = f"{_count(len(found), 'model')}, {kept_bytes / 1e9:.2f} GB; files are there with the right sizes"
    return Result(name="store", state=OK, seen=seen if found else "no models yet")


def _unreadable_folders(root: Path) -> list[Path]:
    """Return folders below `root` that may not be listed: a search by pattern passes over them in silence."""
    failed: list[str] = []
    if os.path.lexists(root):
        for _ in os.walk(root, onerror=lambda error: failed.append(error.filename)):
            pass
    return [root.__class__(name) for name in failed]


def _problems_of(manifest: StoredManifest) -> Iterator[str]:
    wrong = [layer for layer in manifest.layers if not blobs.is_here(layer.digest, layer.size_bytes)]
    for layer in wrong:
        yield f"{manifest.name}: its {layer.kind} {_reason(layer.digest, layer.size_bytes)}"


def _reason(digest: str, size_bytes: int) -> str:
    try:
        state = blobs.blob_path(digest).stat()
    except FileNotFoundError:
        return links.missing_reason(digest) or "is missing"
    except OSError as error:
        return f"cannot be read: {(error.strerror or str(error)).lower()}"
    if not stat.S_ISREG(state.st_mode):
        return "is no regular file"
    if state.st_size != size_bytes:
        return f"has {state.st_size:,} bytes; {size_bytes:,} are right"
    return "has other bytes than its name says"


def _check_unfinished() -> Result:
    name = "unfinished downloads"
    if _unreadable_folders(unfinished_folder()):
        return Result(name=name, state=WARNING, seen=f"{unfinished_folder()} cannot be read")
    left = [path for path, _ in remove.unfinished()]
    if not left:
        return Result(name=name, state=OK, seen="none")
    seen = f"{_count(len(left), 'unfinished file')}, {sum(map(_allocated, left)) / 1e9:.2f} GB"
    if min(map(blobs.idle_seconds, left)) < _OLD_SECONDS:
        return Result(name=name, state=OK, seen=f"{seen}; the same `phi4local pull` goes on with them")
    advice = "the same `phi4local pull` goes on with them; this removes them"
    return Result(name=name, state=WARNING, seen=seen, advice=advice, command="phi4local rm --partial")


def _allocated(path: Path) -> int:
    parts = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(part.lstat().st_size for part in parts if part.is_file())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' if number != 1 else ''}"
