"""Publish a model: its blobs are here and proved; now it gets a name. The manifest is written last."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from phi4local import files
from phi4local.errors import FileWriteError, StoreError
from phi4local.store import blobs, manifests, remove, view
from phi4local.store.locks import STORE, locked
from phi4local.store.manifests import Layer, Origin, StoredManifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from phi4local.catalog import Manifest
    from phi4local.store.names import ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file whose bytes are a blob already.

    Attributes:
        path: its name in the repository, relative, with `/`.
        digest: SHA-256, 64 hex digits.
        size_bytes: its size.
        kind: `model` for a GGUF model (of several parts, each), `adapter`, `projector`, or `file`.
    """

    path: str
    digest: str
    size_bytes: int
    kind: str = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The small parts of a model that say how to talk to it; `None` and empty parts get no layer.

    Attributes:
        template: Ollama's, in the language of Go's text/template.
        system: the instruction before every conversation.
        parameters: as in Ollama's `params`: `temperature`, `num_ctx`, `stop` as a list, …
        messages: what every conversation begins with, each with `role` and `content`.
        licenses: texts.
    """

    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, Any] | None = None
    messages: Sequence[Mapping[str, str]] = ()
    licenses: Sequence[str] = ()

    @classmethod
    def of_member(cls, member: Manifest | None) -> Words:
        """Return what the family manifest says."""
        if member is None:
            return cls()
        return cls(template=member.ollama_template, parameters=member.ollama_parameters())


def publish(
    name: ModelName,
    stored: Sequence[StoredFile],
    origin: Origin,
    *,
    words: Words | None = None,
    parameters: int | None = None,
) -> StoredManifest:
    """Give blobs a name; a model that had it loses it, and what only that one needed is deleted.

    Args:
        name: what the model will be called.
        stored: its files, in order; their blobs are complete and proved.
        origin: where it came from; `origin.files` is filled in from `stored`.
        words: template, system text and so on; the member's of `origin` when the caller read it.
        parameters: number of weights, for Ollama's listing.

    Example::

        publish(ModelName.parse("phi-4:Q4_K_M"), [StoredFile(path="phi-4-Q4_K_M.gguf", …)], origin)

    Raises:
        StoreError: a blob is not there, for example because somebody removed it meanwhile.
        FileWriteError: the operating system refused.
    """
    several = len([file for file in stored if file.kind == "model"]) > 1
    with locked(STORE):
        small = _small_layers(words or Words())
        layers = (*(layer_of(file, named=several or file.kind == "file") for file in stored), *small)
        config = _config(layers, origin, parameters)
        full = replace(origin, files={file.digest: file.path for file in stored})
        return _write(name, manifests.encode(layers, config, full))


def publish_verbatim(name: ModelName, data: bytes) -> StoredManifest:
    """Give a registry's model its name; the manifest's bytes are kept as they came.

    Raises:
        StoreError: no manifest, or a blob of it is not there.
        FileWriteError: the operating system refused.
    """
    with locked(STORE):
        return _write(name, data)


def publish_layers(
    name: ModelName, layers: tuple[Layer, ...], origin: Origin, *, parameters: int | None = None
) -> StoredManifest:
    """Give layers a name whose blobs are all here: a model that shares files with another one.

    Args:
        name: what it will be called.
        layers: all of its blobs.
        origin: where it came from, with the real names of its files.
        parameters: number of weights, for Ollama's listing.

    Raises:
        StoreError, FileWriteError: as `publish`.
    """
    with locked(STORE):
        return _write(name, manifests.encode(layers, _config(layers, origin, parameters), origin))


def small_layer(kind: str, text: str) -> Layer:
    """Keep a small text as a blob and return its layer."""
    data = text.encode()
    return Layer(kind=kind, digest=blobs.add(data), size_bytes=len(data))


def layer_of(file: StoredFile, *, named: bool = False) -> Layer:
    """Return a file's layer; Ollama's own single-file models have no name in it."""
    path = file.path if named else None
    return Layer(kind=file.kind, digest=file.digest, size_bytes=file.size_bytes, path=path)


def _small_layers(words: Words) -> tuple[Layer, ...]:
    parts = [("template", words.template), ("system", words.system)]
    parts += [("license", text) for text in words.licenses]
    for kind, value in (("params", words.parameters), ("messages", words.messages)):
        parts.append((kind, json.dumps(value, ensure_ascii=False) + "\n" if value else None))
    return tuple(small_layer(kind, text) for kind, text in parts if text)


def _config(layers: tuple[Layer, ...], origin: Origin, parameters: int | None) -> Layer:
    """Keep the blob that `ollama list` and `ollama show` read beside the manifest."""
    config = {
        "model_format": "gguf",
        "model_family": "phi3",
        "model_families": ["phi3"],
        "model_type": human_number(parameters) if parameters else "",
        "file_type": origin.quantization or "",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
    }
    data = json.dumps(config, separators=(",", ":")).encode() + b"\n"
    return Layer(kind="config", digest=blobs.add(data), size_bytes=len(data))


def human_number(count: int) -> str:
    """Return a count of parameters as Ollama writes it.

    Examples: 14_659_507_200 → "14.7B"; 10_227_968 → "10.23M". Source: format/format.go of ollama.
    """
    for unit, factor, digits in (("B", 1e9, 1), ("M", 1e6, 2)):
        if count >= factor:
            return (
                f"{count / factor:.0f}{unit}" if count % factor == 0 else f"{count / factor:.{digits}f}{unit}"
            )
    return f"{count / 1e3:.0f}K"


def read_config(manifest: StoredManifest) -> dict[str, Any]:
    """Return what a model's config says, such as `file_type`; empty when it cannot be read."""
    if manifest.config is None or manifest.config.size_bytes > manifests.MOST_BYTES:
        return {}
    try:
        config = json.loads(blobs.blob_path(manifest.config.digest).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return config if isinstance(config, dict) else {}


def _write(name: ModelName, data: bytes) -> StoredManifest:
    """Write a manifest whose blobs are all here, and clear up after the one before it. Under the lock."""
    path = manifests.manifest_path(name)
    manifest = manifests.decode(data, name, path)
    for layer in (*manifest.layers, *((manifest.config,) if manifest.config else ())):
        if not blobs.is_here(layer.digest, layer.size_bytes):
            raise StoreError(blobs.blob_path(layer.digest), "is not here", hint="run the same command again")
    before = _before(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise files.write_error(path, error) from error
    with contextlib.suppress(FileWriteError):  # a disk without links: blobs are opened by their digests
        view.refresh(manifest)
    with files.new_file(path, overwrite=True) as file:
        file.write(data)
    remove.drop_unused(before - manifest.digests())
    return manifest


def _before(name: ModelName) -> set[str]:
    try:
        old = manifests.read(name)
    except StoreError:
        return set()
    return old.digests() if old else set()
