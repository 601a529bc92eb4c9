"""Turn what a person typed into a GGUF file on this machine: the one place that does."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import catalog, convert
from phi4local.errors import FileFormatError, ModelNotInstalledError, UnknownModelError
from phi4local.runtime import conversion, names
from phi4local.runtime.remote.address import is_address
from phi4local.store import installed, view

if TYPE_CHECKING:
    from collections.abc import Callable

EMBEDDED_MODEL = "phi4-nano"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a name stands for, before anything is converted.

    Attributes:
        name: how the model is called in tables and messages.
        installed: a model of the store, or
        gguf: a GGUF file that is there, or
        checkpoint: a safetensors folder that is there; one of the three is set.
        quantization: what to make of the checkpoint.
        manifest: the family member, when the name is one.
    """

    name: str
    installed: installed.InstalledModel | None = None
    gguf: Path | None = None
    checkpoint: Path | None = None
    quantization: str | None = None
    manifest: catalog.Manifest | None = None


def default_model() -> str:
    """Return the model that is used when none is named: the newest installed one, else the embedded one."""
    for model in installed.installed():
        if model.kind == "gguf" and model.name != EMBEDDED_MODEL:
            return str(model.reference)
    return EMBEDDED_MODEL


def names_a_model(word: str) -> bool:
    """Return whether `word` is a model for sure: a name, an address, or a path that exists."""
    name = word.partition(":")[0]
    if is_address(word):
        return True
    if name.lower() in catalog.model_names() or names.is_on_a_hub(word) or installed.named(word):
        return True
    return _looks_like_a_path(word) and os.path.exists(os.path.expanduser(word))  # noqa: PTH110, PTH111


def find(model: str) -> Source:
    """Return what `model` stands for: a name of `phi4local list`, a GGUF file or a checkpoint folder.

    `NAME:QUANTIZATION` asks for a quantization, as in `phi4-nano:Q4_K_M`; a full name of the store, such as
    `hf.co/unsloth/phi-4-GGUF:Q4_K_M`, for that model. A name comes before a file that is called the same;
    `./NAME` is always the file.

    Raises:
        UnknownModelError: nothing has this name; the hint lists near names.
        ModelNotInstalledError: a family member of which nothing is on this machine.
        UnknownQuantizationError: no such quantization.
    """
    name, _, tag = model.partition(":")
    if name.lower() in catalog.model_names():
        return _from_catalog(catalog.find(name), convert.quantization_named(tag) if tag else None)
    if not model.startswith((".", "~", "/")):
        found = _from_store(model)
        if found is not None:
            return found
    # os.path answers False where pathlib raises: names too long, NUL, no such user.
    path = Path(os.path.expanduser(model))  # noqa: PTH111
    if os.path.isdir(path):  # noqa: PTH112
        return _from_folder(path)
    if os.path.exists(path):  # noqa: PTH110
        return Source(name=path.name, gguf=path)
    if _looks_like_a_path(model):
        raise FileFormatError(model, "no such file or folder", hint="check the path, or see `phi4local list`")
    raise UnknownModelError(model, catalog.near_names(model), known=catalog.model_names())


def source_of(model: installed.InstalledModel) -> Source:
    """Return what a model of the store stands for; what was pulled as a folder is its checkpoint."""
    if model.kind == "files":
        return _from_folder(model.path)
    return Source(name=model.name, installed=model, manifest=_member(model))


def _from_store(model: str) -> Source | None:
    kept = [kept for kept in installed.named(model) if kept.kind == "gguf"]
    if kept:
        return source_of(kept[0])
    installed.refuse_broken(model)
    others = installed.named(model.rpartition(":")[0]) if ":" in model else ()
    if others:
        raise ModelNotInstalledError(model, hint=f"there is `{others[0].reference}`")
    return None


def _member(model: installed.InstalledModel) -> catalog.Manifest | None:
    return catalog.find(model.member) if model.member in catalog.model_names() else None


def _looks_like_a_path(word: str) -> bool:
    return word.endswith(".gguf") or "/" in word or "\\" in word or word.startswith((".", "~"))


def ensure_gguf(source: Source, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Return a GGUF file for `source`, converting its checkpoint when that was not done before.

    Args:
        source: from `find`.
        progress: called with bytes done and bytes in all while converting, or while a file of the store is
            proved again because it was touched.

    Raises:
        CheckpointError, ConversionError: the checkpoint cannot be converted.
        StoreError: an installed file is not what it was.
        FileWriteError: the store cannot be written.
    """
    if source.installed is not None:
        return installed.ready_path(source.installed, progress=progress)
    if source.gguf is not None:
        return source.gguf
    if source.checkpoint is None:
        raise ModelNotInstalledError(source.name, hint="see `phi4local list`")
    return installed.ready_path(conversion.converted(source, progress))


def _from_folder(path: Path) -> Source:
    """Take a folder under its own name; what it is decides how it is quantized and prompted."""
    manifest = convert.recognise(path)
    if manifest is not None and manifest.folder and path.samefile(manifest.checkpoint_folder() or path):
        return _from_catalog(manifest, None)
    pulled = view.name_of(path)
    name = pulled.model if pulled else path.resolve().name
    is_member = pulled is not None and manifest is not None and manifest.name == name.lower()
    return Source(
        name=f"{name}-local" if name.lower() in catalog.model_names() and not is_member else name,
        checkpoint=path,
        quantization=manifest.quantization if manifest else None,
        manifest=manifest,
    )


def _from_catalog(manifest: catalog.Manifest, quantization: str | None) -> Source:
    folder = manifest.checkpoint_folder()
    if folder is not None:
        return Source(
            name=manifest.name,
            checkpoint=folder,
            quantization=quantization or manifest.quantization,
            manifest=manifest,
        )
    here = [model for model in installed.named(manifest.name) if model.kind == "gguf"]
    for wanted in (quantization,) if quantization else (manifest.quantization, None):
        for model in here:
            if wanted in (None, model.quantization):
                return Source(name=manifest.name, installed=model, manifest=manifest)
    installed.refuse_broken(f"{manifest.name}:{quantization}" if quantization else manifest.name)
    raise ModelNotInstalledError(manifest.name, hint=f"get it with {how_to_get(manifest)}")


def how_to_get(manifest: catalog.Manifest) -> str:
    """Return one line that says how a model comes to this machine.

    Example: `` `phi4local pull phi-4` ``; for a model without published GGUF files, where its checkpoint is.
    """
    if manifest.gguf_repository is None and manifest.repository is not None:
        return f"`phi4local convert FOLDER`, with {manifest.repository} from Hugging Face in FOLDER"
    return f"`phi4local pull {manifest.name}`"
