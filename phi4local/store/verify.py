"""Hash everything again and say what is not what its name says."""

from __future__ import annotations

import contextlib
import json
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.errors import FileWriteError
from phi4local.store import blobs, links, manifests, remove, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phi4local.errors import StoreError
    from phi4local.store.manifests import StoredManifest

_STATE_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong.

    Attributes:
        path: the file.
        problem: what is wrong with it.
        models: the models that need it.
    """

    path: Path
    problem: str
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What `verify` saw: files and bytes that were hashed, and what is wrong."""

    files: int
    hashed_bytes: int
    findings: tuple[Finding, ...]


def verify(
    only: StoredManifest | None = None, *, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Verified:
    """Hash the files of one model, or everything in the store, and look at manifests and links.

    Args:
        only: one model; `None` for everything.
        progress: called with bytes done and bytes in all.

    Example: `verify().findings` is empty when all is well.
    """
    damaged: list[StoreError] = []
    chosen = [only] if only else list(manifests.all_manifests(damaged=damaged))
    sizes, users = _needs(chosen)
    if only is None:
        for path, digest in remove.all_blobs():
            sizes.setdefault(digest, path.stat().st_size if path.exists() else 0)
    total, done = sum(sizes.values()), 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    findings = [Finding(path=_path(error), problem=error.problem) for error in damaged]
    right = []
    for digest, size_bytes in sizes.items():
        problem = _problem(digest, size_bytes, read)
        if problem:
            models = tuple(users.get(digest, ()))
            findings.append(Finding(path=blobs.blob_path(digest), problem=problem, models=models))
        else:
            right.append(digest)
    findings += _wrong_views(chosen)
    findings += _unreadable_states() if only is None else ()
    if right:
        blobs.remember_verified(*right)
    return Verified(files=len(sizes), hashed_bytes=done, findings=tuple(findings))


def _needs(chosen: list[StoredManifest]) -> tuple[dict[str, int], dict[str, list[str]]]:
    sizes: dict[str, int] = {}
    users: dict[str, list[str]] = {}
    for manifest in chosen:
        for layer in (*manifest.layers, *((manifest.config,) if manifest.config else ())):
            sizes[layer.digest] = layer.size_bytes
            users.setdefault(layer.digest, []).append(str(manifest.name))
    return sizes, users


def _problem(digest: str, size_bytes: int, read: Callable[[int], None]) -> str | None:
    path = blobs.blob_path(digest)
    try:
        problem = _problem_of_kind(path, digest) or _problem_of_size(path, size_bytes)
        if problem:
            return problem
        found = blobs.hash_file(path, progress=read)
    except FileNotFoundError:
        return links.missing_reason(digest) or "is missing"
    except OSError as error:
        return f"cannot be read: {(error.strerror or str(error)).lower()}"
    if found == digest:
        return None
    with contextlib.suppress(FileWriteError):
        blobs.remember_damaged(digest)
    return f"has other bytes: their SHA-256 is {found[:12]}…"


def _problem_of_kind(path: Path, digest: str) -> str | None:
    if stat.S_ISLNK(path.lstat().st_mode) and digest not in links.all_links():
        return "is a link that phi4local did not make"
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        return "is no regular file"
    return None if mode & stat.S_IRUSR else "may not be read"


def _problem_of_size(path: Path, size_bytes: int) -> str | None:
    found = path.stat().st_size
    return None if found == size_bytes else f"has {found:,} bytes; {size_bytes:,} are right"


def _wrong_views(chosen: list[StoredManifest]) -> Iterator[Finding]:
    """Yield names that show another file than the manifest says; missing ones are made again when used."""
    for manifest in chosen:
        folder = view.folder_of(manifest.name)
        for name, digest in view.real_names(manifest).items():
            path, blob = folder / name, blobs.blob_path(digest)
            if path.exists() and blob.exists() and not view.shows(path, blob):
                yield Finding(path=path, problem="shows another file", models=(str(manifest.name),))


def _unreadable_states() -> Iterator[Finding]:
    """Yield downloads that cannot be resumed because what is known of them is damaged."""
    for unfinished, _ in remove.unfinished():
        for path in sorted(unfinished.glob("*.json")):
            try:
                json.loads(path.read_bytes()[: _STATE_BYTES + 1])
            except (ValueError, RecursionError):
                yield Finding(path=path, problem="is no record of a download; `phi4local rm --partial`")
            except OSError:
                continue  # the download ended at this moment


def _path(error: StoreError) -> Path:
    from pathlib import Path

    return Path(error.path)
