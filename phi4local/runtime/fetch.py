"""Bring a family member to this machine: joins the store and the validator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local import catalog, convert, gguf
from phi4local.store import pull as store

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.store.installed import InstalledModel


def pull(model: str, *, progress: Callable[[int, int], None] = lambda _done, _total: None) -> InstalledModel:
    """Pull `NAME` or `NAME:QUANTIZATION`; without one, the manifest's.

    Example: `pull("phi-4:Q6_K").path`.

    Raises:
        UnknownModelError: no family member has this name.
        DownloadError, NotEnoughDiskError, GGUFError: see `phi4local.store.pull`.
    """
    name, _, tag = model.partition(":")
    manifest = catalog.find(name)
    quantization = convert.quantization_named(tag) if tag else manifest.quantization
    return store.pull(manifest, quantization, check=gguf.validate, progress=progress)
