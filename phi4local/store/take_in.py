"""Take a person's own GGUF file into the store: linked, or copied if asked."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local import catalog, files
from phi4local.errors import FileFormatError, NotEnoughDiskError
from phi4local.store import blobs, installed, links, publish
from phi4local.store.home import make_work_folder
from phi4local.store.locks import locked
from phi4local.store.manifests import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from phi4local.gguf import Header
    from phi4local.store.names import ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A file that is to become part of a model, and what it is: `model`, `adapter` or `file`."""

    path: Path
    kind: str = "model"


def take_in(
    incoming: Sequence[Incoming],
    *,
    copy: bool = False,
    owner: str = "you",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[publish.StoredFile, ...]:
    """Hash files and make them blobs; the files themselves stay as they are.

    Args:
        incoming: regular files.
        copy: copy their bytes instead of linking to them.
        owner: whose files they are, for `verify` and `du`.
        progress: called with bytes done and bytes in all.

    Raises:
        FileFormatError: a file cannot be read.
        NotEnoughDiskError, FileWriteError: the store cannot take them.
    """
    try:
        total = sum(one.path.stat().st_size for one in incoming)
    except OSError as error:
        raise FileFormatError(str(error.filename), (error.strerror or str(error)).lower()) from error
    done, stored = 0, []

    def read(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    for one in incoming:
        try:
            digest, size_bytes = blobs.hash_file(one.path, progress=read), one.path.stat().st_size
        except OSError as error:
            raise FileFormatError(one.path, f"cannot be read: {error.strerror or error}") from error
        with locked(f"sha256-{digest}"):
            if not blobs.is_here(digest, size_bytes):
                _copy(one.path, digest, size_bytes) if copy else links.link(one.path, digest, owner)
            blobs.keep_fresh(blobs.blob_path(digest))
        stored.append(
            publish.StoredFile(path=one.path.name, digest=digest, size_bytes=size_bytes, kind=one.kind)
        )
    return tuple(stored)


def import_model(
    header: Header,
    name: ModelName,
    quantization: str,
    *,
    copy: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> installed.InstalledModel:
    """Take a validated model of one or several files into the store under a name.

    Args:
        header: from `gguf.validate`.
        name: what it will be called.
        quantization: such as `Q4_K_M`.
        copy: as in `take_in`.
        progress: as in `take_in`.

    Raises:
        As `take_in`.
    """
    paths = [part.path for part in header.parts] or [header.path]
    stored = take_in([Incoming(path=path) for path in paths], copy=copy, progress=progress)
    origin = Origin(
        how="imported",
        source=str(header.path.resolve()),
        fingerprint=stored[0].digest,
        quantization=quantization,
    )
    words = publish.Words.of_member(_member(header))
    parameters = installed.count_parameters(header.path)
    return installed.of(publish.publish(name, stored, origin, words=words, parameters=parameters))


def _member(header: Header) -> catalog.Manifest | None:
    """Return the family member with this file's template, so that Ollama gets the right one."""
    template = header.get("tokenizer.chat_template")
    for member in map(catalog.find, catalog.model_names()):
        if isinstance(template, str) and member.ollama_template and member.has_template(template):
            return member
    return None


def _copy(path: Path, digest: str, size_bytes: int) -> None:
    folder = make_work_folder(f"sha256-{digest}")
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes:
        raise NotEnoughDiskError(folder, needed_bytes=size_bytes, free_bytes=free_bytes)
    try:
        shutil.copyfile(path, folder / "copy")
        if blobs.hash_file(folder / "copy") != digest:
            raise FileFormatError(path, "it was changed while it was copied", hint="try again")
        blobs.take(folder / "copy", digest)
    except OSError as error:
        raise files.write_error(folder / "copy", error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
