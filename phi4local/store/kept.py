"""Find the one model that a command is about, damaged ones too; copy it, and say what everything takes."""

from __future__ import annotations

import contextlib
import difflib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi4local.errors import AmbiguousNameError, ModelNotInstalledError, StoreError, UnsafeNameError
from phi4local.store import blobs, links, manifests, publish, remove
from phi4local.store.names import ModelName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phi4local.store.manifests import Layer, StoredManifest


def name_of(text: str) -> ModelName:
    """Return the one name in the store that `text` stands for; without a tag, the model's only one.

    Example: `name_of("phi-4")` is `phi-4:Q4_K_M` when there is no other tag of it.

    Raises:
        ModelNotInstalledError: no such model; the hint lists near names.
        AmbiguousNameError: it has several tags.
    """
    here = [name for _, name in manifests.names()]
    try:
        exact = ModelName.parse(text)
    except UnsafeNameError:
        exact = None
    fitting = [name for name in here if exact and name.same_as(exact)] or [
        name for name in here if name.without_tag.casefold() == text.casefold()
    ]
    if not fitting:
        near = difflib.get_close_matches(text, map(str, here), n=3, cutoff=0.4)
        hint = f"there is {', '.join(f'`{name}`' for name in near)}" if near else "see `phi4local list`"
        raise ModelNotInstalledError(text, hint=hint)
    if len(fitting) > 1:
        raise AmbiguousNameError(text, [str(name) for name in fitting])
    return fitting[0]


def manifest_of(text: str) -> StoredManifest:
    """Return the manifest of the one model that `text` stands for.

    Raises:
        ModelNotInstalledError, AmbiguousNameError: as `name_of`.
        StoreError: its manifest is damaged.
    """
    name = name_of(text)
    found = manifests.read(name)
    if found is None:
        raise StoreError(str(name), "was removed a moment ago")
    return found


def copy(source: str, destination: str) -> ModelName:
    """Give a model a second name; no bytes are copied. What had that name loses it.

    Example: `copy("phi-4:Q4_K_M", "mine")` returns `mine:latest`.

    Raises:
        ModelNotInstalledError, AmbiguousNameError, StoreError: see `manifest_of`.
        UnsafeNameError: no name for a model.
    """
    manifest, name = manifest_of(source), ModelName.parse(destination)
    try:
        data = manifest.path.read_bytes()
    except OSError as error:
        raise StoreError(manifest.path, f"cannot be read: {error.strerror or error}") from error
    publish.publish_verbatim(name, data)
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What takes room, in bytes.

    Attributes:
        models: of each model: all its files, and how much of that no other model shares.
        total_bytes: of all blobs of ours, each counted once.
        linked_bytes: of files that other tools own and that are only linked here.
        unused_bytes: of blobs that no model needs; `prune` deletes them.
        unfinished_bytes: of downloads and conversions that did not end; `rm --partial` deletes them.
    """

    models: tuple[tuple[ModelName, int, int], ...]
    total_bytes: int
    linked_bytes: int
    unused_bytes: int
    unfinished_bytes: int


def usage() -> Usage:
    """Say what the store takes, model by model."""
    everything = list(manifests.all_manifests())
    users: dict[str, int] = {}
    for manifest in everything:
        for digest in manifest.digests():
            users[digest] = users.get(digest, 0) + 1
    linked = links.all_links()
    sizes = {digest: path.stat().st_size for path, digest in remove.all_blobs() if path.exists()}
    ours = {digest: size for digest, size in sizes.items() if digest not in linked}
    return Usage(
        models=tuple(
            (
                manifest.name,
                _sum(manifest.digests(), sizes),
                _sum((digest for digest in manifest.digests() if users[digest] == 1), ours),
            )
            for manifest in everything
        ),
        total_bytes=sum(ours.values()),
        linked_bytes=sum(sizes.values()) - sum(ours.values()),
        unused_bytes=sum(size for digest, size in ours.items() if digest not in users),
        unfinished_bytes=remove.remove_partial(dry_run=True).freed_bytes,
    )


def _sum(digests: Iterable[str], sizes: dict[str, int]) -> int:
    return sum(sizes.get(digest, 0) for digest in digests)


def text_of(layer: Layer) -> str:
    """Return a small layer's text.

    Raises:
        StoreError: it is missing, or larger than a template or a licence can be.
    """
    path = blobs.blob_path(layer.digest)
    if layer.size_bytes > _MOST_TEXT_BYTES:
        raise StoreError(path, f"has {layer.size_bytes:,} bytes, too many for a {layer.kind}")
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise StoreError(path, f"cannot be read: {(error.strerror or str(error)).lower()}") from error


_MOST_TEXT_BYTES = 2**20


def json_of(layers: Sequence[Layer], kind: str, default: Any) -> Any:  # noqa: ANN401 - JSON
    """Return the value of the last JSON layer of a kind, or `default` where it is none of its type.

    Example: `json_of(manifest.layers, "params", {})` → `{"stop": ["<|im_end|>"], "temperature": 0.0}`.
    """
    for layer in reversed([layer for layer in layers if layer.kind == kind]):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(text_of(layer))
            return value if isinstance(value, type(default)) else default
    return default
