"""Pull a model of the family: resolve, fetch, prove, publish."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import files
from phi4local.errors import DownloadError, NotEnoughDiskError
from phi4local.store import installed
from phi4local.store.home import PULL_PREFIX, make_models_folder
from phi4local.store.sources import huggingface

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.catalog import Manifest
    from phi4local.store.sources.huggingface import RemoteFile

_READ_BYTES = 4 * 2**20


def pull(
    manifest: Manifest,
    quantization: str,
    *,
    check: Callable[[Path], object],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> installed.InstalledModel:
    """Fetch a GGUF file of `manifest` unless it is here, and return the installed model.

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
    remote = huggingface.find_gguf(manifest.gguf_repository, quantization)
    kept = installed.find(fingerprint=remote.sha256, quantization=quantization)
    if kept is not None:
        return kept
    path = installed.destination(manifest.name, quantization=quantization, fingerprint=remote.sha256)
    make_models_folder()
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < remote.size_bytes:
        raise NotEnoughDiskError(path, needed_bytes=remote.size_bytes, free_bytes=free_bytes)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=PULL_PREFIX) as folder:
        fetched = _fetch_and_prove(remote, Path(folder), progress)
        check(fetched)
        files.adopt(fetched, path)
    model = installed.InstalledModel(
        name=manifest.name,
        quantization=quantization,
        source=f"hf.co/{remote.repository}/{remote.path}",
        fingerprint=remote.sha256,
        path=path,
        size_bytes=remote.size_bytes,
    )
    installed.remember(model)
    return model


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

    path = huggingface.fetch(remote, folder, progress=came)
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
