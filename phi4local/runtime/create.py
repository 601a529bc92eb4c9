"""Make a model from a Modelfile: joins the store, the converter and the validator."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local import convert, gguf
from phi4local.convert import AdapterUse
from phi4local.errors import AdapterError, ModelfileError
from phi4local.runtime import conversion, resolve
from phi4local.runtime.adapters import adapter_file
from phi4local.store import installed, kept, modelfile, publish
from phi4local.store import take_in as store
from phi4local.store.manifests import Layer, Origin
from phi4local.store.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from phi4local.gguf import Header
    from phi4local.store.installed import InstalledModel
    from phi4local.store.modelfile import Modelfile


def create(
    name: str,
    text: str,
    folder: Path,
    *,
    quantization: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> InstalledModel:
    r"""Make the model that a Modelfile describes; its weights are linked or shared, never copied.

    What the base model has stays unless the Modelfile says something else: parameters one by one, licences in
    addition, everything else as a whole.

    Args:
        name: `NAME` or `NAME:TAG`.
        text: the Modelfile.
        folder: where its relative paths begin.
        quantization: what to make of a checkpoint; the family's default without it.
        progress: called with bytes done and bytes in all while a checkpoint is converted or a file hashed.

    Example: `create("pip", "FROM phi4-nano\nSYSTEM You are Pip, a fox.", Path())`, then
    `phi4local run pip "Who are you?"`.

    Raises:
        ModelfileError: a line of it, or a base and adapters that do not go together.
        UnknownModelError, ModelNotInstalledError: there is no such base.
        GGUFError, CheckpointError, ConversionError, AdapterError: a file that cannot be used.
        UnsafeNameError, FileWriteError: no name for a model; the store cannot take it.
    """
    return make(name, modelfile.parse(text), folder, quantization=quantization, progress=progress)


def make(
    name: str,
    described: Modelfile,
    folder: Path,
    *,
    quantization: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> InstalledModel:
    """Make the model that a Modelfile describes, after it was read; see `create`.

    Example: `make("pip", Modelfile(base="phi4-nano", system="You are Pip, a fox."), Path())`.
    """
    reference = ModelName.parse(name)
    adapters = [_path(folder, adapter) for adapter in described.adapters]
    peft = [path for path in adapters if path.is_dir()]
    base = _base(described.base, folder, peft, quantization, progress)
    beside = [path for path in adapters if not (base.merged and path in peft)]
    stored = _take_in_adapters(beside, base.header, progress)
    layers = (
        *_kept_layers(base.layers, described, adapters=bool(stored)),
        *map(publish.layer_of, stored),
        *_new_layers(base.layers, described),
    )
    origin = Origin(
        how="created",
        source=base.source,
        quantization=base.quantization,
        files={**base.files, **{file.digest: file.path for file in stored}},
    )
    return installed.of(publish.publish_layers(reference, layers, origin, parameters=base.parameters))


def _take_in_adapters(
    paths: list[Path], base: Header, progress: Callable[[int, int], None]
) -> tuple[publish.StoredFile, ...]:
    """Keep adapters with the model: files are linked, what was converted is copied."""
    stored: tuple[publish.StoredFile, ...] = ()
    for path in paths:
        file = adapter_file(path, base)
        gguf.validate_adapter(file, base)
        one = store.Incoming(path=file, kind="adapter")
        stored += store.take_in([one], copy=path.is_dir(), progress=progress)
    return stored


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """What FROM stands for, in the store's terms."""

    source: str
    quantization: str
    header: Header
    layers: tuple[Layer, ...]
    files: Mapping[str, str]
    merged: bool = False
    """Whether adapters of PEFT are in the weights: a checkpoint was converted."""

    @property
    def parameters(self) -> int:
        return sum(math.prod(tensor.shape) for tensor in self.header.tensors)


def _path(folder: Path, text: str) -> Path:
    path = folder / Path(text).expanduser()
    if not path.exists():
        raise AdapterError(
            text, "is not there", hint="a path in a Modelfile begins at the Modelfile's folder"
        )
    return path


def _base(
    text: str,
    folder: Path,
    peft: list[Path],
    quantization: str | None,
    progress: Callable[[int, int], None],
) -> _Base:
    source = resolve.find(str(folder / Path(text).expanduser()) if _is_file(folder, text) else text)
    if source.checkpoint is not None:
        wanted = convert.quantization_named(quantization) if quantization else source.quantization
        merged = tuple(AdapterUse(path) for path in peft)
        source = replace(source, quantization=wanted)
        return replace(_of_installed(conversion.converted(source, progress, adapters=merged)), merged=True)
    if quantization:
        raise ModelfileError(1, "only a checkpoint can be quantized", hint="leave out `--quantization`")
    if source.installed is not None:
        return _of_installed(source.installed)
    return _of_file(source.gguf or Path(text), progress)


def _of_installed(model: InstalledModel) -> _Base:
    return _Base(
        source=str(model.reference),
        quantization=model.quantization,
        header=gguf.validate(installed.ready_path(model)),
        layers=model.manifest.layers,
        files=model.manifest.origin.files,
    )


def _of_file(path: Path, progress: Callable[[int, int], None]) -> _Base:
    header = gguf.validate(path)
    parts = [store.Incoming(path=part.path) for part in header.parts or (header,)]
    stored = store.take_in(parts, progress=progress)
    return _Base(
        source=str(path.resolve()),
        quantization=gguf.quantization_of(header),
        header=header,
        layers=tuple(publish.layer_of(file, named=len(stored) > 1) for file in stored),
        files={file.digest: file.path for file in stored},
    )


def _is_file(folder: Path, text: str) -> bool:
    return os.path.exists(folder / Path(os.path.expanduser(text)))  # noqa: PTH110, PTH111


def _kept_layers(base: tuple[Layer, ...], described: Modelfile, *, adapters: bool) -> tuple[Layer, ...]:
    """Return the layers of the base that the Modelfile does not replace."""
    replaced = {
        "template": described.template,
        "system": described.system,
        "params": described.parameters,
        "messages": described.messages,
        "adapter": adapters,
    }
    return tuple(layer for layer in base if not replaced.get(layer.kind))


def _new_layers(base: tuple[Layer, ...], described: Modelfile) -> tuple[Layer, ...]:
    messages = [{"role": role, "content": content} for role, content in described.messages]
    parts: list[tuple[str, str | None]] = [
        ("template", described.template),
        ("system", described.system),
        ("params", _json({**kept.json_of(base, "params", {}), **described.parameters}, described.parameters)),
        ("messages", _json(messages, messages)),
        *(("license", text) for text in described.licenses),
    ]
    return tuple(publish.small_layer(kind, text) for kind, text in parts if text)


def _json(value: object, wanted: object) -> str | None:
    return json.dumps(value, ensure_ascii=False) + "\n" if wanted else None


def described(model: InstalledModel) -> Modelfile:
    """Return the Modelfile that would make a model of the store again."""
    manifest = model.manifest

    def text(kind: str) -> str | None:
        layers = manifest.of_kind(kind)
        return kept.text_of(layers[-1]) if layers else None

    messages = [
        (str(message.get("role")), str(message.get("content")))
        for message in kept.json_of(manifest.layers, "messages", [])
        if isinstance(message, dict)
    ]
    return modelfile.Modelfile(
        base=str(model.path),
        parameters=kept.json_of(manifest.layers, "params", {}),
        template=text("template"),
        system=text("system"),
        adapters=tuple(str(path) for path in installed.adapter_paths(model)),
        messages=tuple(messages),
        licenses=tuple(kept.text_of(layer) for layer in manifest.of_kind("license")),
    )
