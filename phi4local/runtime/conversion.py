"""Convert a checkpoint once, and find the result again: joins the converter and the store."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import convert
from phi4local.store import installed, manifests
from phi4local.store.home import make_work_folder
from phi4local.store.locks import locked
from phi4local.store.manifests import Origin
from phi4local.store.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.convert import AdapterUse
    from phi4local.runtime.resolve import Source

DEFAULT_QUANTIZATION = "Q4_K_M"
"""For checkpoints that no manifest describes."""


def converted(
    source: Source,
    progress: Callable[[int, int], None] | None = None,
    *,
    adapters: tuple[AdapterUse, ...] = (),
) -> installed.InstalledModel:
    """Return the model of a checkpoint, converted when that was not done before.

    A second process waits for the first, and uses what it made.

    Args:
        source: with a checkpoint.
        progress: called with bytes done and bytes in all.
        adapters: LoRA adapters to merge.

    Raises:
        CheckpointError, ConversionError, AdapterError: the checkpoint cannot be converted.
        FileWriteError: the store cannot be written.
    """
    checkpoint, quantization = source.checkpoint or Path(), source.quantization or DEFAULT_QUANTIZATION
    kept = found(source, adapters=adapters)
    if kept is not None:
        return kept
    fingerprint = _fingerprint(checkpoint, adapters)
    lock = f"convert-{fingerprint[:16]}-{quantization}"
    with locked(lock):
        kept = installed.find(fingerprint=fingerprint, quantization=quantization)
        if kept is not None:
            return kept
        folder = make_work_folder(lock)
        try:
            convert.convert_checkpoint(
                checkpoint,
                folder / "model.gguf",
                quantization,
                overwrite=True,
                adapters=adapters,
                progress=(lambda done, total, _tensor: progress(done, total)) if progress else None,
                kernels="ggml",  # `chat` and `run` compile nothing
            )
            origin = Origin(
                how="converted",
                source=str(checkpoint.resolve()),
                fingerprint=fingerprint,
                quantization=quantization,
            )
            return keep(source, folder / "model.gguf", origin, merged=bool(adapters))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def found(source: Source, *, adapters: tuple[AdapterUse, ...] = ()) -> installed.InstalledModel | None:
    """Return what was converted before from a checkpoint, or `None`."""
    fingerprint = _fingerprint(source.checkpoint or Path(), adapters)
    return installed.find(fingerprint=fingerprint, quantization=source.quantization or DEFAULT_QUANTIZATION)


def keep(source: Source, gguf: Path, origin: Origin, *, merged: bool = False) -> installed.InstalledModel:
    """Take a converted file into the store, under the name of its source unless another model has that.

    Args:
        source: what was converted.
        gguf: in a folder of `make_work_folder`; it is moved.
        origin: where it came from; with a fingerprint.
        merged: adapters are in it.

    Raises:
        FileWriteError: the store cannot be written.
    """
    member, quantization = source.manifest, origin.quantization or DEFAULT_QUANTIZATION
    # A fine-tune is recognised by its numbers; its name is its own.
    is_member = member is not None and member.name == source.name and not merged
    origin = replace(origin, member=member.name if member and is_member else None)
    name = ModelName.for_words(source.name, quantization)
    there = manifests.read(name)
    if there is not None and (merged or not (is_member or there.origin.source == origin.source)):
        # Another folder's model of the same name keeps it: `my-tune-3fa9c2:Q4_K_M`.
        name = ModelName.for_words(f"{source.name[:70]}-{(origin.fingerprint or '')[:6]}", quantization)
    return installed.keep_converted(gguf, name, origin, member)


def _fingerprint(checkpoint: Path, adapters: tuple[AdapterUse, ...]) -> str:
    """Return what tells this conversion from others; adapters count with the content of their files."""
    base = convert.fingerprint(checkpoint)
    if not adapters:
        return base
    digest = hashlib.sha256(base.encode())
    for adapter in adapters:
        for path in sorted(adapter.folder.glob("adapter_*")):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        digest.update(str(adapter.strength).encode())
    return digest.hexdigest()
