"""Bring what was planned to this machine: reuse, download, prove, publish."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local import catalog, gguf
from phi4local.errors import NotEnoughDiskError
from phi4local.runtime.progress import Progress, Together
from phi4local.runtime.pull_plan import PullPlan, PullSettings, is_here, plan_pull, weights_of
from phi4local.store import blobs, download, home, installed, publish, reuse
from phi4local.store.locks import locked
from phi4local.store.manifests import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phi4local.store.installed import InstalledModel
    from phi4local.store.remote import RemoteFile

__all__ = ["PullPlan", "PullSettings", "fetch", "plan_pull"]

_WORDS = ("template", "system", "params")
_SPARE_BYTES, _SPARE_SHARE = 2**30, 20
"""What a download leaves free, and which part of itself: disks that are full to the brim break things."""


def fetch(plan: PullPlan, *, progress: Callable[[Progress], None] = lambda _progress: None) -> InstalledModel:
    """Do what was planned and return the model, which has its name only when everything is proved.

    What is here already is not fetched; what an earlier try left is used. An interrupted call leaves what
    came, and the next one goes on there.

    Args:
        plan: from `plan_pull`.
        progress: told about all files together; `done` never becomes less.

    Example: `fetch(plan_pull("phi-4:Q8_0")).path`.

    Raises:
        DownloadError: the server stopped answering, or sent something else than it announced.
        NotEnoughDiskError: found before the first byte.
        GGUFError: the file that came is not the one whose header was checked.
        FileWriteError: the store cannot be written.
    """
    home.make_models_folder()
    missing = [file for file in plan.remote.files if not is_here(file)]
    missing = [file for file in missing if not _linked(file, progress)]
    _require_space(missing)
    digests = {file.path: file.sha256 or "" for file in plan.remote.files}
    if missing:
        tell = Together(plan.size_bytes, progress, here_bytes=plan.here_bytes)
        settings = download.DownloadSettings(connections=plan.connections)
        for file in missing:
            digests[file.path] = download.fetch(file, settings=settings, progress=tell).sha256
    return _published(plan, digests)


def _linked(file: RemoteFile, progress: Callable[[Progress], None]) -> bool:
    """Link the file if another program has it; return whether it is here now."""
    if file.sha256 is None:
        return False
    done = 0

    def hashed(count: int) -> None:
        nonlocal done
        done += count
        progress(Progress("checking", done, file.size_bytes))

    with locked(f"sha256-{file.sha256}"):
        found = reuse.find(file.sha256, file.size_bytes, file.path, progress=hashed)
        if found is not None:
            reuse.use(found)
    return found is not None


def _require_space(missing: Sequence[RemoteFile]) -> None:
    needed = sum(file.size_bytes - download.recorded_bytes(file) for file in missing)
    needed += min(_SPARE_BYTES, needed // _SPARE_SHARE)
    folder = home.models_folder()
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise NotEnoughDiskError(folder, needed_bytes=needed, free_bytes=free)


def _published(plan: PullPlan, digests: dict[str, str]) -> InstalledModel:
    if plan.remote.manifest is not None:
        return installed.of(publish.publish_verbatim(plan.name, plan.remote.manifest))
    weights, kinds, reference = weights_of(plan.remote), plan.remote.kinds or {}, plan.reference
    for file in weights:  # another process may have put something else there
        gguf.read_header(blobs.blob_path(digests[file.path]))
    stored = [
        publish.StoredFile(
            path=file.path,
            digest=digests[file.path],
            size_bytes=file.size_bytes,
            kind=kinds.get(file.path, "file"),
        )
        for file in plan.remote.files
        if kinds.get(file.path) not in _WORDS
    ]
    first = weights[0] if weights else None
    origin = Origin(
        source=f"{reference.host}/{reference.repository}" + (f"/{first.path}" if first else ""),
        revision=plan.remote.revision,
        fingerprint=digests[first.path] if first else None,
        member=reference.member,
        quantization=plan.quantization,
    )
    member = catalog.find(reference.member) if reference.member else None
    words = _words(plan, digests, member) if weights else None
    parameters = member.parameters if member else None
    return installed.of(publish.publish(plan.name, stored, origin, words=words, parameters=parameters))


def _words(plan: PullPlan, digests: dict[str, str], member: catalog.Manifest | None) -> publish.Words:
    """Return what the repository says to Ollama, else what the family manifest says."""
    words = publish.Words.of_member(member)
    for file in plan.remote.files:
        kind = (plan.remote.kinds or {}).get(file.path)
        if kind not in _WORDS:
            continue
        text = blobs.blob_path(digests[file.path]).read_text(encoding="utf-8", errors="replace")
        if kind == "template":
            words = replace(words, template=text)
        if kind == "system":
            words = replace(words, system=text)
        if kind != "params":
            continue
        with contextlib.suppress(ValueError, RecursionError):
            parameters = json.loads(text)
            words = replace(words, parameters=parameters) if isinstance(parameters, dict) else words
    return words
