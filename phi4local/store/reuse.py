"""Find files that are on this machine already, in other programs' stores, before they are downloaded.

What is found is hashed and then linked; it is never copied, moved or touched. A name that promises a digest
(Ollama, Hugging Face, llama.cpp) is looked up first; other files must have the size and the name.
`PHI4LOCAL_REUSE=0` turns all of this off.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.store import blobs, links
from phi4local.store.others import HUGGINGFACE, LLAMA_CPP, OLLAMA, stores
from phi4local.store.paths import safe_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MOST_FILES = 200_000
"""A store with more entries than this is not searched further."""
_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file of another program with the bytes that are wanted; its digest was computed, not believed."""

    path: Path
    owner: str
    digest: str


def find(
    sha256: str,
    size_bytes: int,
    name: str,
    *,
    progress: Callable[[int], None] = lambda _count: None,
    notice: Callable[[str], None] = lambda _line: None,
) -> Found | None:
    """Return a file of another program with this digest, or `None`.

    Args:
        sha256: 64 hex digits.
        size_bytes: its size; other files are not even opened.
        name: its name in the repository; the last part is compared.
        progress: told how many bytes were hashed each time; 9 GB take about six seconds.
        notice: told, once for each store, that it may not be read.

    Example: `find("fd7b…", 9_053_114_464, "phi-4-Q4_K_M.gguf")` finds the blob that `ollama pull phi4` left.

    Raises:
        UnsafeNameError: no digest.
    """
    digest = safe_digest(sha256)
    if os.environ.get("PHI4LOCAL_REUSE") == "0":
        return None
    for promising in (_by_digest, _by_name):
        for owner, folder in stores():
            try:
                for path in promising(owner, folder, digest, name.rpartition("/")[2]):
                    if _is(path, digest, size_bytes, name, progress):
                        return Found(path=path, owner=owner, digest=digest)
            except PermissionError:
                notice(f"the models of {owner} in {folder} may not be read")
            except OSError:
                continue  # it is being changed at this moment
    return None


def use(found: Found) -> links.Link:
    """Link a found file as a blob of the store; the caller holds the digest's lock.

    Raises:
        StoreError, FileWriteError: it is gone, or the store cannot be written.
    """
    return links.link(found.path, found.digest, found.owner)


def _by_digest(owner: str, folder: Path, digest: str, _name: str) -> Iterator[Path]:
    if owner == OLLAMA:
        yield from (folder / "blobs" / f"sha256{mark}{digest}" for mark in "-:")
    elif owner in (HUGGINGFACE, LLAMA_CPP):
        for repository in folder.iterdir():
            if repository.name.startswith("models--"):
                yield repository / "blobs" / digest


def _by_name(owner: str, folder: Path, _digest: str, name: str) -> Iterator[Path]:
    if owner == OLLAMA:
        return  # has no names
    for count, path in enumerate(_files(folder)):
        if count >= _MOST_FILES:
            return
        # The older llama.cpp writes OWNER_REPOSITORY_FILE, with folders of the repository as `_`.
        if path.name == name or (owner == LLAMA_CPP and path.name.endswith(f"_{name}")):
            yield path


def _files(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("blobs", ".locks", "refs")]
        yield from (folder.__class__(here, name) for name in names)


def _is(path: Path, digest: str, size_bytes: int, name: str, progress: Callable[[int], None]) -> bool:
    """Return whether this is a regular file of the size, the kind and the digest."""
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(state.st_mode) or state.st_size != size_bytes:
        return False
    with path.open("rb") as file:
        if name.lower().endswith(".gguf") and file.read(len(_MAGIC)) != _MAGIC:
            return False
    return blobs.hash_file(path, progress=progress) == digest
