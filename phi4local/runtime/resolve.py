"""Turn what a person typed into a GGUF file on this machine: the one place that does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import catalog, convert
from phi4local.errors import FileFormatError, ModelNotInstalledError, UnknownModelError
from phi4local.store import installed

if TYPE_CHECKING:
    from collections.abc import Callable

EMBEDDED_MODEL = "phi4-nano"
DEFAULT_QUANTIZATION = "Q4_K_M"
"""For checkpoints that no manifest describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a name stands for, before anything is converted.

    Attributes:
        name: how the model is called in tables and messages.
        gguf: a GGUF file that is there, or
        checkpoint: a safetensors folder that is there; one of the two is set.
        quantization: what to make of the checkpoint.
        manifest: the family member, when the name is one.
    """

    name: str
    gguf: Path | None = None
    checkpoint: Path | None = None
    quantization: str | None = None
    manifest: catalog.Manifest | None = None


def default_model() -> str:
    """Return the model that is used when none is named: the newest installed one, else the embedded one."""
    for model in installed.installed():
        if model.name != EMBEDDED_MODEL:
            return str(model.path)
    return EMBEDDED_MODEL


def find(model: str) -> Source:
    """Return what `model` stands for: a name of `phi4local list`, a GGUF file or a checkpoint folder.

    `NAME:QUANTIZATION` asks for a quantization, as in `phi4-nano:Q4_K_M`. A catalog name comes before a file
    of that name; `./NAME` is always the file.

    Raises:
        UnknownModelError: nothing has this name; the hint lists near names.
        ModelNotInstalledError: a family member of which nothing is on this machine.
        UnknownQuantizationError: no such quantization.
    """
    name, _, tag = model.partition(":")
    if name.lower() in catalog.model_names():
        return _from_catalog(catalog.find(name), convert.quantization_named(tag) if tag else None)
    path = Path(model).expanduser()
    if path.is_dir():
        return _from_folder(path)
    if path.exists():
        return Source(name=path.name, gguf=path)
    kept = _installed(name, convert.quantization_named(tag) if tag else None)
    if kept is not None:
        return Source(name=name, gguf=kept)
    if model.endswith(".gguf") or "/" in model or "\\" in model:
        raise FileFormatError(model, "no such file or folder", hint="check the path, or see `phi4local list`")
    catalog.find(name)  # raises with near names
    raise UnknownModelError(model, (), known=catalog.model_names())


def ensure_gguf(source: Source, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Return a GGUF file for `source`, converting its checkpoint when that was not done before.

    Args:
        source: from `find`.
        progress: called with bytes done and bytes in all while converting.

    Raises:
        CheckpointError, ConversionError: the checkpoint cannot be converted.
        FileWriteError: the store cannot be written.
    """
    if source.gguf is not None:
        return source.gguf
    if source.checkpoint is None:
        raise ModelNotInstalledError(source.name, hint="see `phi4local list`")
    fingerprint = convert.fingerprint(source.checkpoint)
    quantization = source.quantization or DEFAULT_QUANTIZATION
    kept = installed.find(fingerprint=fingerprint, quantization=quantization)
    if kept is not None:
        return kept.path
    path = installed.destination(source.name, quantization=quantization, fingerprint=fingerprint)
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = convert.convert_checkpoint(
        source.checkpoint,
        path,
        quantization,
        overwrite=True,
        progress=progress,
        kernels="ggml",  # `chat` and `run` compile nothing
    )
    installed.remember(
        installed.InstalledModel(
            name=source.name,
            quantization=quantization,
            source=str(source.checkpoint.resolve()),
            fingerprint=fingerprint,
            path=path,
            size_bytes=summary.size_bytes,
        )
    )
    return path


def _from_folder(path: Path) -> Source:
    """Take a folder under its own name; what it is decides how it is quantized and prompted."""
    manifest = convert.recognise(path)
    return Source(
        name=path.resolve().name,
        checkpoint=path,
        quantization=manifest.quantization if manifest else None,
        manifest=manifest,
    )


def _from_catalog(manifest: catalog.Manifest, quantization: str | None) -> Source:
    wanted = quantization or manifest.quantization
    folder = manifest.checkpoint_folder()
    if folder is not None:
        return Source(name=manifest.name, checkpoint=folder, quantization=wanted, manifest=manifest)
    kept = _installed(manifest.name, quantization)
    if kept is not None:
        return Source(name=manifest.name, gguf=kept, manifest=manifest)
    raise ModelNotInstalledError(manifest.name, hint=f"get it with {how_to_get(manifest)}")


def _installed(name: str, quantization: str | None) -> Path | None:
    for model in installed.installed():
        if model.name == name and quantization in (None, model.quantization):
            return model.path
    return None


def how_to_get(manifest: catalog.Manifest) -> str:
    """Return one line that says how a model comes to this machine."""
    return f"`phi4local pull {manifest.name}`"
