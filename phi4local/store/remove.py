"""Remove models, what nobody needs any more, and downloads that were not finished.

A blob goes only when no manifest names it and nobody holds its lock. Manifests are read and blobs deleted
under the store's lock, under which `publish` looks whether its blobs are still there.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local import files
from phi4local.errors import StoreError
from phi4local.store import blobs, home, manifests, view
from phi4local.store.home import blobs_folder, manifests_folder, unfinished_folder, view_folder
from phi4local.store.locks import STORE, locked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from phi4local.store.names import ModelName

GRACE_SECONDS = 3600.0
"""A blob without a manifest is left alone for an hour: its model may be on its way. Ollama waits as long."""

_BLOB = re.compile(r"sha256-([0-9a-f]{64})")
_UNFINISHED = re.compile(r"(.+?)\.partial.*")
"""The part before `.partial` is the name of the lock under which the file is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """What went away: `names` of models, or of files in the store, and the bytes that are free now."""

    names: tuple[str, ...]
    freed_bytes: int


def remove(name: ModelName) -> Removed:
    """Remove a model and every blob that no other one needs.

    A process that has the model open keeps it until it ends (on Windows, the file is left for `prune`).

    Raises:
        StoreError: no such model.
        FileWriteError: the operating system refused.
    """
    with locked(STORE):
        path = manifests.manifest_path(name)
        if not path.is_file():
            raise StoreError(str(name), "is not in the store", hint="see `phi4local list`")
        try:
            manifest = manifests.read(name)
        except StoreError:
            manifest = None  # damaged: it goes, and `prune` finds its blobs
        digests = manifest.digests() if manifest else set()
        kept = manifest.name if manifest else name
        _unlink_manifest(path)
        view.remove(kept)
        return Removed(names=(str(kept),), freed_bytes=drop_unused(digests))


def drop_unused(digests: Collection[str]) -> int:
    """Delete those blobs that no manifest names and nobody is working on; return the bytes freed.

    The caller holds the store's lock.
    """
    needed, damaged = _needed() if digests else (set(), [])
    if damaged:
        return 0
    return sum(_drop(digest) for digest in digests if digest not in needed)


def prune(*, grace_seconds: float = GRACE_SECONDS, dry_run: bool = False) -> Removed:
    """Delete blobs that no manifest names, adapters converted on the way, and views of models that are gone.

    Args:
        grace_seconds: blobs made or used more recently stay.
        dry_run: only say what would go.

    Raises:
        StoreError: a manifest cannot be read, so nobody knows what it needs; nothing is deleted.
        FileWriteError: the operating system refused.
    """
    with locked(STORE):
        needed, damaged = _needed()
        if damaged:
            raise StoreError(damaged[0].path, damaged[0].problem, hint="remove that file, then prune again")
        idle = [
            (path, digest)
            for path, digest in all_blobs()
            if digest not in needed and blobs.idle_seconds(path) >= grace_seconds
        ]
        freed_bytes = 0
        for path, digest in idle:
            freed_bytes += _size(path) if dry_run else _drop(digest)
        adapters = [path for path in home.adapters() if blobs.idle_seconds(path) >= grace_seconds]
        freed_bytes += sum(map(_size, adapters))
        if not dry_run:
            for path in adapters:
                _delete(path)
            _remove_stray_views()
        names = (*(path.name for path, _ in idle), *(path.name for path in adapters))
        return Removed(names=names, freed_bytes=freed_bytes)


def remove_partial(*, dry_run: bool = False) -> Removed:
    """Delete downloads and conversions that were not finished and that no process works on.

    Raises:
        FileWriteError: the operating system refused.
    """
    names, freed_bytes = [], 0
    with locked(STORE):
        for path, lock in list(unfinished()):
            with locked(lock, wait=False) as free:
                if not free:
                    continue
                freed_bytes += _allocated(path)
                names.append(path.name)
                if not dry_run:
                    _delete(path)
    return Removed(names=tuple(names), freed_bytes=freed_bytes)


def _needed() -> tuple[set[str], list[StoreError]]:
    """Return the digests that manifests name, and the errors of those that cannot be read."""
    damaged: list[StoreError] = []
    found = manifests.all_manifests(damaged=damaged)
    return {digest for manifest in found for digest in manifest.digests()}, damaged


def _drop(digest: str) -> int:
    with locked(f"sha256-{digest}", wait=False) as mine:
        return blobs.remove(digest) if mine else 0


def all_blobs() -> Iterator[tuple[Path, str]]:
    """Yield every blob and its digest; links to other tools' files too."""
    for path in sorted(blobs_folder().glob("sha256-*")):
        found = _BLOB.fullmatch(path.name)
        if found:
            yield path, found[1]


def unfinished() -> Iterator[tuple[Path, str]]:
    """Yield unfinished files and folders, each with the name of its lock."""
    for path in sorted(blobs_folder().glob("*")):
        found = _UNFINISHED.fullmatch(path.name)
        if found:
            yield path, found[1]
    for path in sorted(unfinished_folder().glob("*")):
        yield path, path.name


def _unlink_manifest(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise files.write_error(path, error) from error
    files.sync_folder(path.parent)
    for parent in path.parents:
        if parent == manifests_folder():
            return
        try:
            parent.rmdir()
        except OSError:
            return


def _remove_stray_views() -> None:
    root = view_folder()
    known = {view.folder_of(manifest.name) for manifest in manifests.all_manifests()}
    for folder in root.glob("*/*/*/*"):
        if folder not in known:
            shutil.rmtree(folder, ignore_errors=True)
    for depth in ("*/*/*", "*/*", "*"):
        for folder in root.glob(depth):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _size(path: Path) -> int:
    return 0 if path.is_symlink() else path.lstat().st_size


def _allocated(path: Path) -> int:
    """Return the bytes that a file, sparse or not, takes on the disk, or those of a folder's files."""
    if path.is_dir():
        return sum(_allocated(part) for part in path.rglob("*") if part.is_file())
    state = path.lstat()
    return min(getattr(state, "st_blocks", state.st_size) * 512, state.st_size)


def _delete(path: Path) -> None:
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        raise files.write_error(path, error) from error
