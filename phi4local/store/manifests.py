"""Manifests: one small JSON file for each model, laid out and written as Ollama does.

`manifests/HOST/NAMESPACE/MODEL/TAG` lists the blobs of a model. What comes from a registry is kept byte for
byte, so that its id is the one that `ollama list` shows; everything else gets a manifest of ours, with an
extra key `phi4local` that Ollama's reader skips.

Source: manifest/manifest.go, manifest/layer.go and server/images.go of ollama fb307609.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from phi4local.errors import StoreError, UnsafeNameError
from phi4local.store.home import manifests_folder
from phi4local.store.names import ModelName
from phi4local.store.paths import safe_digest, safe_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MOST_BYTES, MOST_LAYERS = 4 * 2**20, 4096
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_OLLAMA, _OURS = "application/vnd.ollama.image.", "application/vnd.phi4local."


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One blob of a model.

    Attributes:
        kind: `model`, `adapter`, `template`, `system`, `params`, `messages`, `license`, `projector`, or
            `file` for any other file of a repository; an unknown media type stands for itself.
        digest: SHA-256, 64 hex digits.
        size_bytes: its size.
        path: its name in the repository, for models in several parts and plain files.
    """

    kind: str
    digest: str
    size_bytes: int
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a model came from; what the manifest says beyond Ollama's.

    Attributes:
        how: `converted`, `pulled`, `imported` or `created`.
        source: a checkpoint folder, `hf.co/REPOSITORY/FILE`, a file, a registry's name.
        revision: the commit that was pulled.
        fingerprint: of the checkpoint it was converted from, or the SHA-256 of the file that was pulled.
        member: the family member whose file this is, by its name in `models/*.toml`.
        quantization: such as `Q4_K_M`.
        files: real names by digest, for the view.
    """

    how: str = "pulled"
    source: str = ""
    revision: str | None = None
    fingerprint: str | None = None
    member: str | None = None
    quantization: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifest:
    """A manifest that was read and checked.

    Attributes:
        name: what the model is called.
        layers: its blobs, in order.
        config: the small blob that describes it, or `None`.
        origin: what our own manifests say; with empty fields for a registry's.
        sha256: of the manifest's bytes; the first 12 digits are the id that `ollama list` shows.
        path: the file.
    """

    name: ModelName
    layers: tuple[Layer, ...]
    config: Layer | None
    origin: Origin
    sha256: str
    path: Path

    def of_kind(self, *kinds: str) -> tuple[Layer, ...]:
        """Return the layers of some kinds, in order."""
        return tuple(layer for layer in self.layers if layer.kind in kinds)

    def digests(self) -> set[str]:
        """Return every blob that the model needs."""
        return {layer.digest for layer in (*self.layers, *((self.config,) if self.config else ()))}


def encode(layers: tuple[Layer, ...], config: Layer, origin: Origin) -> bytes:
    """Return a manifest of ours as Ollama would write it: compact, in this order, without a line end."""
    about = {name: value for name in _ORIGIN_TEXTS if (value := getattr(origin, name))}
    files = {f"sha256:{digest}": path for digest, path in origin.files.items()}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "config": _encoded(config),
        "layers": [_encoded(layer) for layer in layers],
        "phi4local": about | ({"files": files} if files else {}),
    }
    return json.dumps(manifest, separators=(",", ":"), ensure_ascii=False).encode()


_ORIGIN_TEXTS = ("how", "source", "revision", "fingerprint", "member", "quantization")


def _encoded(layer: Layer) -> dict[str, Any]:
    kind = layer.kind
    if kind == "config":
        media_type = _CONFIG_TYPE
    elif "/" in kind:
        media_type = kind
    else:
        media_type = f"{_OURS if kind == 'file' else _OLLAMA}{kind}"
    known: dict[str, Any] = {
        "mediaType": media_type,
        "digest": f"sha256:{layer.digest}",
        "size": layer.size_bytes,
    }
    return known | ({"name": layer.path} if layer.path else {})


def decode(data: bytes, name: ModelName, path: Path) -> StoredManifest:
    """Read a manifest without trusting it.

    Raises:
        StoreError: no manifest, or one with a digest, size or name that cannot be; the message says which.
    """
    try:
        manifest = json.loads(data[: MOST_BYTES + 1])  # what is longer ends in the middle, which is no JSON
        config = manifest.get("config") or {}
        about = manifest.get("phi4local") or {}
        return StoredManifest(
            name=name,
            layers=_layers(manifest.get("layers") or []),
            config=_decoded(config | {"mediaType": _CONFIG_TYPE}) if config.get("digest") else None,
            origin=_origin(about),
            sha256=hashlib.sha256(data).hexdigest(),
            path=path,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UnsafeNameError) as error:
        raise StoreError(path, f"is no manifest: {error}") from error


def _layers(layers: list[Any]) -> tuple[Layer, ...]:
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"it has more than {MOST_LAYERS:,} layers")
    return tuple(map(_decoded, layers))


def _decoded(layer: dict[str, Any]) -> Layer:
    media_type, size, path = layer["mediaType"], layer["size"], layer.get("name")
    if not isinstance(media_type, str) or type(size) is not int or not 0 <= size < 2**63:
        raise ValueError("a layer's type or size is wrong")
    kind = media_type.removeprefix(_OLLAMA).removeprefix(_OURS)
    return Layer(
        kind="config" if media_type == _CONFIG_TYPE else kind,
        digest=safe_digest(layer["digest"]),
        size_bytes=size,
        path=None if path is None else safe_path(path),
    )


def _origin(about: dict[str, Any]) -> Origin:
    texts = {name: str(about[name]) for name in _ORIGIN_TEXTS if about.get(name)}
    files = {safe_digest(digest): safe_path(path) for digest, path in about.get("files", {}).items()}
    return Origin(**texts, files=files)


def manifest_path(name: ModelName) -> Path:
    """Return the file of a model's manifest, there or not; an existing one of another spelling counts."""
    exact = manifests_folder() / name.folder
    if not exact.exists():
        for path, other in names():
            if other.same_as(name):
                return path
    return exact


def read(name: ModelName) -> StoredManifest | None:
    """Return the manifest of a model, or `None` when there is none.

    Raises:
        StoreError: it is damaged or cannot be read.
    """
    path = manifest_path(name)
    return _read(path, name) if path.is_file() else None


def all_manifests(*, damaged: list[StoreError] | None = None) -> Iterator[StoredManifest]:
    """Yield every manifest that can be read; the errors of others go to `damaged`."""
    for path, name in names():
        try:
            yield _read(path, name)
        except StoreError as error:
            if damaged is not None:
                damaged.append(error)


def names() -> Iterator[tuple[Path, ModelName]]:
    """Yield the file and the name of every manifest, readable or not."""
    root = manifests_folder()
    for path in sorted(root.glob("*/*/*/*")):
        try:
            yield path, ModelName.from_folder(path.relative_to(root).as_posix())
        except UnsafeNameError:
            continue  # a temporary file, or something that is not ours


def _read(path: Path, name: ModelName) -> StoredManifest:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise StoreError(path, f"cannot be read: {error.strerror or error}") from error
    return decode(data, name, path)
