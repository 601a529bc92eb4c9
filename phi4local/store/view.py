"""The files of a model under their real names: links into the blobs, in `files/HOST/NAMESPACE/MODEL/TAG/`.

llama.cpp finds the parts of a model by their names, transformers wants a folder, and people want to see a
`.gguf`. Nothing here is the only copy of anything; what is missing is made again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from phi4local.errors import UnsafeNameError
from phi4local.files import write_error
from phi4local.store import blobs
from phi4local.store.home import view_folder
from phi4local.store.names import ModelName
from phi4local.store.paths import safe_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phi4local.store.manifests import StoredManifest

_SHOWN = ("model", "adapter", "projector", "file")


def folder_of(name: ModelName) -> Path:
    """Return the folder of a model's files, there or not."""
    return view_folder() / name.folder


def name_of(folder: Path) -> ModelName | None:
    """Return the model whose files a folder shows, or `None` for any other folder."""
    try:
        below = folder.resolve().relative_to(view_folder().resolve())
        return ModelName.from_folder(below.as_posix()) if len(below.parts) == 4 else None
    except (ValueError, OSError, UnsafeNameError):
        return None


def real_names(manifest: StoredManifest) -> dict[str, str]:
    """Return the digest of every file by its real name; made up where the manifest has none.

    Example: `{"phi-4-Q4_K_M.gguf": "fd7b…"}`; an adapter of a registry is `phi4-14b-adapter.gguf`.
    """
    names: dict[str, str] = {}
    stem = f"{manifest.name.model}-{manifest.name.tag}"
    for number, layer in enumerate(manifest.of_kind(*_SHOWN)):
        made_up = f"{stem}.gguf" if layer.kind == "model" else f"{stem}-{layer.kind}.gguf"
        path = layer.path or manifest.origin.files.get(layer.digest) or made_up
        names[path if path not in names else f"{number}-{made_up}"] = layer.digest
    return names


def refresh(manifest: StoredManifest) -> Path:
    """Make the view of a model what its manifest says; return its folder.

    Raises:
        FileWriteError: the operating system refused, or the disk knows no links, as FAT and exFAT.
    """
    folder, wanted = folder_of(manifest.name), real_names(manifest)
    # Readers of checkpoints refuse links that leave the folder; llama.cpp, which reads models, follows them.
    plain = {layer.digest for layer in manifest.of_kind("file")}
    for name, digest in wanted.items():
        _link(folder / safe_path(name), blobs.blob_path(digest), hard=digest in plain)
    _remove_others(folder, wanted)
    return folder


def is_right(manifest: StoredManifest) -> bool:
    """Return whether every name leads to the blob that the manifest says."""
    folder = folder_of(manifest.name)
    return all(shows(folder / name, blobs.blob_path(digest)) for name, digest in real_names(manifest).items())


def remove(name: ModelName) -> None:
    """Remove the view of a model, and folders that are empty without it."""
    folder = folder_of(name)
    shutil.rmtree(folder, ignore_errors=True)
    _remove_empty_parents(folder)


def _remove_empty_parents(folder: Path) -> None:
    for parent in list(folder.parents)[:3]:
        try:
            parent.rmdir()
        except OSError:
            return


def _remove_others(folder: Path, wanted: Mapping[str, str]) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(folder).as_posix() not in wanted:
            path.unlink()


def _link(path: Path, blob: Path, *, hard: bool) -> None:
    if shows(path, blob) and not (hard and path.is_symlink()):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        _make_link(path, blob, hard=hard)
    except OSError as error:
        raise write_error(path, error) from error


def shows(path: Path, blob: Path) -> bool:
    """Return whether a name of the view leads to this blob."""
    try:
        return path.samefile(blob)
    except OSError:
        return False


def _make_link(path: Path, blob: Path, *, hard: bool) -> None:
    """Link relative to the folder, so that the store can be moved; a hard link where that is wanted."""
    if hard:
        with contextlib.suppress(OSError):  # another disk, or a file that belongs to somebody else
            os.link(blob.resolve(), path)
            return
    try:
        path.symlink_to(os.path.relpath(blob, path.parent))
    except OSError:  # Windows without developer mode
        os.link(blob, path)
