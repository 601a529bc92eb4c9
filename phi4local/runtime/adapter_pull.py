"""Adapters of Hugging Face and ModelScope: two files of PEFT, or one GGUF file."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from phi4local.errors import AdapterError
from phi4local.runtime.progress import Together
from phi4local.store import blobs, download, references, sources
from phi4local.store.reference_words import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from phi4local.runtime.progress import Progress
    from phi4local.store.references import Reference
    from phi4local.store.remote import RemoteFile

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def fetch_adapter(
    name: str, folder: Path, *, progress: Callable[[Progress], None] = lambda _progress: None
) -> Path:
    """Fetch an adapter into a folder, and return the PEFT folder or the GGUF file.

    Args:
        name: as `phi4local pull` takes it, such as `hf.co/OWNER/NAME` or `modelscope.cn/OWNER/NAME`.
        folder: empty; its files are the fetched ones, checked against their announced digests.
        progress: told about all files together while they come.

    Raises:
        AdapterError: the repository holds none, or several GGUF files.
        InvalidReferenceError, DownloadError, FileWriteError: as a pull.
    """
    reference = references.parse(name)
    if reference.kind == REGISTRY:
        raise AdapterError(
            name, "is in a registry, which holds models", hint="name Hugging Face or ModelScope"
        )
    wanted = _wanted(reference, sources.look(reference).files)
    tell = Together(sum(file.size_bytes for file in wanted), progress)
    for file in wanted:
        fetched = download.fetch(file, progress=tell)
        shutil.copyfile(blobs.blob_path(fetched.sha256), folder / file.path.rpartition("/")[2])
        blobs.remove(fetched.sha256)  # the adapter in the store is what stays
    return folder if len(wanted) == 2 else folder / wanted[0].path.rpartition("/")[2]


def _wanted(reference: Reference, files: Sequence[RemoteFile]) -> list[RemoteFile]:
    inside = (reference.file or "").rstrip("/")
    here = {
        file.path.removeprefix(f"{inside}/"): file
        for file in files
        if not inside or file.path == inside or file.path.startswith(f"{inside}/")
    }
    if _CONFIG in here and _WEIGHTS in here:
        return [here[_CONFIG], here[_WEIGHTS]]
    found = [file for path, file in here.items() if path.endswith(".gguf")]
    if len(found) == 1:
        return found
    where = f"{reference.host}/{reference.repository}"
    if found:
        raise AdapterError(where, f"has {len(found)} GGUF files", hint=f"name one: `{where}/{found[0].path}`")
    raise AdapterError(where, f"has no {_CONFIG} with {_WEIGHTS}, and no GGUF file")
