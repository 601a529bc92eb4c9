"""Pull a model of the family: resolve, fetch, prove, publish."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

from phi4local.errors import DownloadError, NotEnoughDiskError
from phi4local.store import blobs, installed, manifests, publish, reuse
from phi4local.store.home import make_models_folder, make_work_folder
from phi4local.store.locks import locked
from phi4local.store.names import ModelName
from phi4local.store.sources import hub_download

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.catalog import Manifest
    from phi4local.store.sources.hub_download import RemoteFile

_READ_BYTES = 4 * 2**20


def pull(
    manifest: Manifest,
    quantization: str,
    *,
    check: Callable[[Path], object],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> installed.InstalledModel:
    """Fetch a GGUF file of `manifest` unless it is here, and return the installed model.

    A file that another program has is linked instead.

    The file gets its name after its SHA-256 equals the one that the server announced and after `check`.

    Args:
        manifest: a member whose manifest names a GGUF repository.
        quantization: such as `Q4_K_M`.
        check: raises when the file is no good model; `phi4local.gguf.validate`.
        progress: called with bytes done and bytes in all.

    Raises:
        DownloadError: nothing to fetch, no connection, or the digest differs.
        NotEnoughDiskError: the disk is too small; found before the first byte.
        GGUFError: from `check`.
    """
    if manifest.gguf_repository is None:
        raise _nothing_to_pull(manifest)
    remote = hub_download.find_gguf(manifest.gguf_repository, quantization)
    kept = installed.find(fingerprint=remote.sha256, quantization=quantization)
    if kept is not None:
        return kept
    make_models_folder()
    lock = f"sha256-{remote.sha256}"
    with locked(lock):
        _bring(remote, lock, check, progress)
        origin = manifests.Origin(
            source=f"hf.co/{remote.repository}/{remote.path}",
            revision=remote.revision,
            fingerprint=remote.sha256,
            member=manifest.name,
            quantization=quantization,
        )
        name = ModelName(model=manifest.name, tag=quantization)
        file = publish.StoredFile(path=remote.path, digest=remote.sha256, size_bytes=remote.size_bytes)
        words = publish.Words.of_member(manifest)
        return installed.of(
            publish.publish(name, [file], origin, words=words, parameters=manifest.parameters)
        )


def _bring(
    remote: RemoteFile,
    lock: str,
    check: Callable[[Path], object],
    progress: Callable[[int, int], None],
) -> None:
    """Make the file a blob: linked if another program has it, else fetched."""
    found = reuse.find(remote.sha256, remote.size_bytes, remote.path)
    if found is not None:
        check(found.path)
        reuse.use(found)
        return
    fetched = _fetched(remote, make_work_folder(lock), check, progress)
    blobs.take(fetched, remote.sha256)
    shutil.rmtree(fetched.parent, ignore_errors=True)


def _fetched(
    remote: RemoteFile,
    folder: Path,
    check: Callable[[Path], object],
    progress: Callable[[int, int], None],
) -> Path:
    """Return the file, fetched into `folder` and proved; on an error the folder is removed."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < remote.size_bytes:
        raise NotEnoughDiskError(folder, needed_bytes=remote.size_bytes, free_bytes=free_bytes)
    try:
        fetched = _fetch_and_prove(remote, folder, progress)
        check(fetched)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return fetched


def _nothing_to_pull(manifest: Manifest) -> DownloadError:
    if manifest.repository is None:
        return DownloadError(f"`{manifest.name}` has nothing to pull", hint="see `phi4local list`")
    return DownloadError(
        f"`{manifest.name}` has no GGUF file to pull; its checkpoint is {manifest.repository}",
        hint="download that from Hugging Face and run `phi4local convert FOLDER`",
    )


def _fetch_and_prove(remote: RemoteFile, folder: Path, progress: Callable[[int, int], None]) -> Path:
    done = 0

    def came(count: int) -> None:
        nonlocal done
        done += count
        progress(done, remote.size_bytes)

    path = hub_download.fetch(remote, folder, progress=came)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    if digest.hexdigest() != remote.sha256:
        raise DownloadError(
            f"`{remote.path}` arrived damaged: SHA-256 {digest.hexdigest()}, announced {remote.sha256}",
            hint="pull again; if it repeats, the server's file is wrong",
        )
    return path
