"""Models on this machine: every manifest whose files are here, and what one opens of it."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local import files
from phi4local.errors import FileWriteError, GGUFError, StoreError
from phi4local.gguf import read_header
from phi4local.store import blobs, links, locks, manifests, older, publish, view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from phi4local.catalog import Manifest
    from phi4local.store.manifests import Origin, StoredManifest
    from phi4local.store.names import ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledModel:
    """One model whose files are all here.

    Attributes:
        reference: its name in the store.
        kind: `gguf`, or `files` for a checkpoint, a data set, or anything else that was pulled as a folder.
        quantization: such as `Q4_K_M`; empty for `files`.
        source: where it came from: a checkpoint folder, or `hf.co/REPOSITORY/FILE`.
        fingerprint: of the checkpoint it was converted from, or the SHA-256 of the file that was pulled.
        member: the family member that it is, by name; `None` when nobody knows.
        path: the GGUF file (of several parts, the first), or the folder.
        parameters: number of weights as Ollama writes it, such as `14.7B`; empty when nobody knows.
        size_bytes: of the GGUF files, or of all files.
        installed_seconds: when, in seconds since 1970.
        manifest: everything else.
    """

    reference: ModelName
    kind: str
    quantization: str
    source: str
    fingerprint: str
    member: str | None
    parameters: str
    path: Path
    size_bytes: int
    installed_seconds: float
    manifest: StoredManifest

    @property
    def name(self) -> str:
        """The name without its tag, as short as it can be: `phi-4`, `hf.co/unsloth/phi-4-GGUF`."""
        return self.reference.without_tag

    @property
    def tag(self) -> str:
        """What stands behind the colon; for models that were made here, the quantization."""
        return self.reference.tag


def installed() -> tuple[InstalledModel, ...]:
    """Return all models, newest first; those of which a file is missing or has another size are left out."""
    older.take_over()
    found = [model for model in map(_model_of, manifests.all_manifests()) if model]
    return tuple(sorted(found, key=lambda model: model.installed_seconds, reverse=True))


def find(*, fingerprint: str, quantization: str) -> InstalledModel | None:
    """Return the model that was made of this, or that is this file, with nothing added by a Modelfile."""
    for model in installed():
        if model.manifest.origin.how != "created" and (model.fingerprint, model.quantization) == (
            fingerprint,
            quantization,
        ):
            return model
    return None


def at(path: Path) -> InstalledModel | None:
    """Return the model of the store that is opened at `path`."""
    return next((model for model in installed() if model.path == path), None)


def named(text: str) -> tuple[InstalledModel, ...]:
    """Return the models that a name stands for, the best first; upper and lower case are the same.

    With a tag, only those of that tag or quantization; without one, all models of the name. A family
    member's name also stands for its files under other names, after those of its own.

    Example: `named("phi-4:q4_k_m")` has `phi-4:Q4_K_M`, then `hf.co/unsloth/phi-4-GGUF:Q4_K_M`.
    """
    # A colon before the last slash belongs to a port.
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        name, tag = text, ""
    name, tag = name.casefold(), tag.casefold()
    fitting = [
        model
        for model in installed()
        if name in (model.name.casefold(), (model.member or "").casefold())
        and tag in ("", model.tag.casefold(), model.quantization.casefold())
    ]
    return tuple(sorted(fitting, key=lambda model: model.name.casefold() != name))


def keep_converted(gguf: Path, name: ModelName, origin: Origin, member: Manifest | None) -> InstalledModel:
    """Take a converted file of the store's disk into the store under a name.

    Args:
        gguf: in a folder of `home.make_work_folder`; it is moved.
        name: what the model will be called.
        origin: where it came from.
        member: the family member, whose template and parameters it gets for Ollama.

    Raises:
        FileWriteError: the operating system refused.
    """
    try:
        size_bytes, digest = gguf.stat().st_size, blobs.hash_file(gguf)
    except OSError as error:
        raise files.write_error(gguf, error) from error
    with locks.locked(f"sha256-{digest}"):
        blobs.take(gguf, digest)
        stored = publish.StoredFile(
            path=f"{name.model}-{name.tag}.gguf", digest=digest, size_bytes=size_bytes
        )
        words = publish.Words.of_member(member)
        parameters = count_parameters(blobs.blob_path(digest))
        return of(publish.publish(name, [stored], origin, words=words, parameters=parameters))


def count_parameters(gguf: Path) -> int | None:
    """Return the number of weights of a GGUF file, or `None` if it is none."""
    try:
        return sum(math.prod(tensor.shape) for tensor in read_header(gguf).tensors)
    except GGUFError:
        return None


def of(manifest: StoredManifest) -> InstalledModel:
    """Return the model of a manifest.

    Raises:
        StoreError: a file of it is missing, or has another size.
    """
    for layer in manifest.layers:
        if not blobs.is_here(layer.digest, layer.size_bytes):
            raise StoreError(
                blobs.blob_path(layer.digest),
                links.missing_reason(layer.digest)
                or f"a file of `{manifest.name}` is {_state(layer.digest)}",
                hint=f"get the model again, or remove it: `phi4local rm {manifest.name}`",
            )
    weights = manifest.of_kind("model")
    shown = weights or manifest.of_kind("file")
    origin, config = manifest.origin, publish.read_config(manifest)
    return InstalledModel(
        reference=manifest.name,
        kind="gguf" if weights else "files",
        quantization=(origin.quantization or str(config.get("file_type", ""))) if weights else "",
        source=origin.source or manifest.name.without_tag,
        fingerprint=origin.fingerprint or (weights[0].digest if weights else ""),
        member=origin.member,
        parameters=str(config.get("model_type", "")),
        path=_path(manifest),
        size_bytes=sum(layer.size_bytes for layer in shown),
        installed_seconds=manifest.path.stat().st_mtime,
        manifest=manifest,
    )


def ready_path(model: InstalledModel, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Return the path to open, after a look whether the files are what was proved when they came.

    A file whose inode, size or time has changed since is hashed again, and `progress` is told bytes done and
    bytes in all.

    Raises:
        StoreError: it is not the same any more.
        FileWriteError: the names of a model in several parts are gone and cannot be made again.
    """
    changed = blobs.unverified([layer.digest for layer in model.manifest.layers])
    total = sum(layer.size_bytes for layer in model.manifest.layers if layer.digest in changed)
    done = 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    for digest in changed:
        _prove(model, digest, read)
    if changed:
        with contextlib.suppress(FileWriteError):  # a read-only store is hashed every time
            blobs.remember_verified(*changed)
    try:
        if not view.is_right(model.manifest):
            view.refresh(model.manifest)
    except FileWriteError:
        weights = model.manifest.of_kind("model")
        if len(weights) != 1:  # llama.cpp finds parts by their names only
            raise
        return blobs.blob_path(weights[0].digest)
    return model.path


def _prove(model: InstalledModel, digest: str, read: Callable[[int], None]) -> None:
    path = blobs.blob_path(digest)
    try:
        found = blobs.hash_file(path, progress=read)
    except OSError as error:
        raise StoreError(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    if found != digest:
        with contextlib.suppress(FileWriteError):
            blobs.remember_damaged(digest)
        raise StoreError(
            path,
            f"a file of `{model.reference}` is damaged: its SHA-256 is {found}",
            hint=f"remove the model with `phi4local rm {model.reference}` and get it again",
        )


def _state(digest: str) -> str:
    return "damaged" if blobs.is_known_to_be_damaged(digest) else "missing, or has another size"


def broken() -> tuple[StoreError, ...]:
    """Return, for every model that cannot be used, why; a damaged manifest is one, too."""
    reasons: list[StoreError] = []
    for manifest in manifests.all_manifests(damaged=reasons):
        try:
            of(manifest)
        except StoreError as error:
            reasons.append(error)
    return tuple(reasons)


def refuse_broken(text: str) -> None:
    """Raise the reason why a model that has a manifest is not among the installed ones; else do nothing.

    Raises:
        StoreError: a file of it is missing or has another size; says whose it was, if it was only linked.
    """
    name, _, tag = text.rpartition(":") if ":" in text.rpartition("/")[2] else (text, "", "")
    for _, known in manifests.names():
        if known.without_tag.casefold() == name.casefold() and tag.casefold() in ("", known.tag.casefold()):
            found = manifests.read(known)
            if found is not None:
                of(found)


def adapter_paths(model: InstalledModel) -> tuple[Path, ...]:
    """Return the LoRA adapters that belong to a model, under their real names."""
    digests = {layer.digest for layer in model.manifest.of_kind("adapter")}
    folder = view.folder_of(model.reference)
    shown = view.real_names(model.manifest).items()
    return tuple(folder / name for name, digest in shown if digest in digests)


def _model_of(manifest: StoredManifest) -> InstalledModel | None:
    try:
        return of(manifest) if manifest.layers else None
    except (StoreError, OSError):
        return None


def _path(manifest: StoredManifest) -> Path:
    names = sorted(_opened(manifest))
    folder = view.folder_of(manifest.name)
    return folder / names[0] if names else folder


def _opened(manifest: StoredManifest) -> Iterator[str]:
    weights = {layer.digest for layer in manifest.of_kind("model")}
    return (name for name, digest in view.real_names(manifest).items() if digest in weights)
