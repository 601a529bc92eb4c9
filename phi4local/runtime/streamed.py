"""A checkpoint on a server → a GGUF file here, without keeping the checkpoint: joins reader and converter."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from phi4local import catalog, convert
from phi4local.errors import ConversionError
from phi4local.files import write_error
from phi4local.runtime import conversion
from phi4local.runtime.progress import Progress
from phi4local.runtime.resolve import Source
from phi4local.store import installed
from phi4local.store.home import make_work_folder
from phi4local.store.locks import locked
from phi4local.store.manifests import Origin
from phi4local.store.reader import RemoteReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.runtime.pull_plan import PullPlan
    from phi4local.store.installed import InstalledModel
    from phi4local.store.remote import RemoteFile

_WEIGHTS = ".safetensors"


def stream_and_convert(
    plan: PullPlan, quantization: str, *, progress: Callable[[Progress], None] = lambda _progress: None
) -> InstalledModel:
    """Convert a checkpoint while it arrives; only the GGUF file needs room on the disk, and only it is kept.

    Every file is proved by its digest before the GGUF file gets its name. What is interrupted begins again:
    without the checkpoint there is nothing to go on from.

    Args:
        plan: of a checkpoint.
        quantization: such as `Q4_K_M`.
        progress: told how much of the GGUF file is written.

    Example: `stream_and_convert(plan_pull("microsoft/phi-4"), "Q4_K_M")` reads 29 GB and writes 9 GB.

    Raises:
        ConversionError: the repository has GGUF files instead of a checkpoint, or tensors that have to be
            put together from several places.
        DownloadError: the server stopped answering.
        DamagedFileError: a file is not what the server announced.
        CheckpointError, FileWriteError: see `convert.convert_checkpoint`.
    """
    if plan.quantization is not None:
        raise ConversionError(
            f"`{plan.reference}` is a GGUF file already", hint="leave out `--convert`, or name a checkpoint"
        )
    fingerprint = _fingerprint(plan.remote.files)
    lock = f"convert-{fingerprint[:16]}-{quantization}"
    with locked(lock):
        kept = installed.find(fingerprint=fingerprint, quantization=quantization)
        if kept is not None:
            return kept
        folder = make_work_folder(lock)
        try:
            return _converted(plan, quantization, folder, fingerprint, progress)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _converted(
    plan: PullPlan,
    quantization: str,
    folder: Path,
    fingerprint: str,
    progress: Callable[[Progress], None],
) -> InstalledModel:
    files = [file for file in plan.remote.files if len(PurePosixPath(file.path).parts) == 1]
    small = folder / plan.reference.name  # what the file calls the model
    _fetch_small([file for file in files if not file.path.endswith(_WEIGHTS)], small)
    shards = {file.path: RemoteReader(file) for file in files if file.path.endswith(_WEIGHTS)}
    with convert.StreamedCheckpoint(small, shards) as checkpoint:
        del shards  # what a used-up reader keeps in memory goes with it
        convert.convert_checkpoint(
            checkpoint,
            folder / "model.gguf",
            quantization,
            overwrite=True,
            progress=lambda done, total, _tensor: progress(Progress("converting", done, total)),
            kernels="ggml",  # the network is slower
        )
    origin = Origin(
        how="converted",
        source=f"{plan.reference.host}/{plan.reference.repository}",
        revision=plan.remote.revision,
        fingerprint=fingerprint,
        quantization=quantization,
    )
    return conversion.keep(_source(plan, small, quantization), folder / "model.gguf", origin)


def _source(plan: PullPlan, folder: Path, quantization: str) -> Source:
    member, name = convert.recognise(folder), plan.name.model
    if name.lower() in catalog.model_names() and (member is None or member.name != name.lower()):
        name = f"{name}-local"
    return Source(name=name, checkpoint=folder, quantization=quantization, manifest=member)


def _fetch_small(files: list[RemoteFile], folder: Path) -> None:
    try:
        shutil.rmtree(folder, ignore_errors=True)  # left by a killed process
        folder.mkdir(parents=True)
        for file in files:
            with RemoteReader(file) as reader:
                data = reader.read(0, file.size_bytes)
                reader.finish()
            (folder / file.path).write_bytes(data)
    except OSError as error:
        raise write_error(folder, error) from error


def _fingerprint(files: tuple[RemoteFile, ...]) -> str:
    """Return what tells this checkpoint from others, from what the server announces of its files."""
    digest = hashlib.sha256(b"phi4local streamed checkpoint 1")
    for file in sorted(files, key=lambda file: file.path):
        digest.update(f"\0{file.path}\0{file.sha256 or file.git_sha1 or file.source}".encode())
    return digest.hexdigest()
