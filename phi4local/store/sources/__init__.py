"""Where models come from: one module for each kind of server.

reference = references.parse("hf.co/unsloth/phi-4-GGUF:Q4_K_M")
model = sources.resolve(reference)          # files with sizes and digests; nothing fetched yet
offers = sources.list_quantizations(reference)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from phi4local.store.reference_words import HUGGINGFACE, MODELSCOPE, REGISTRY
from phi4local.store.sources import huggingface, modelscope, registry

if TYPE_CHECKING:
    from phi4local.store.references import Reference
    from phi4local.store.remote import RemoteModel
    from phi4local.store.sources.quantizations import Offer


class Source(Protocol):
    """What every module here can do."""

    def resolve(self, reference: Reference, *, checkpoint: bool = False) -> RemoteModel:
        """Return what a reference means now, with sizes and digests."""

    def list_quantizations(self, reference: Reference) -> tuple[Offer, ...]:
        """Return the GGUF models of a repository, smallest first."""


_SOURCES: dict[str, Source] = {HUGGINGFACE: huggingface, MODELSCOPE: modelscope, REGISTRY: registry}


def source_of(reference: Reference) -> Source:
    """Return the module that speaks a reference's protocol."""
    return _SOURCES[reference.kind]


def resolve(reference: Reference, *, checkpoint: bool = False) -> RemoteModel:
    """Return what a reference means now, with sizes and digests; nothing is fetched yet.

    Args:
        reference: from `references.parse`.
        checkpoint: take the safetensors of a repository that has GGUF files too.

    Raises:
        RemoteNotFoundError: no such repository, revision, file or tag; the hint says what is there.
        AccessDeniedError: private or gated.
        DownloadError: the server is not reached, or answers nonsense.
    """
    return source_of(reference).resolve(reference, checkpoint=checkpoint)


def list_quantizations(reference: Reference) -> tuple[Offer, ...]:
    """Return the GGUF models of a repository, smallest first. A registry cannot list: one offer, its tag's.

    Raises:
        DownloadError: as `resolve`.
    """
    return source_of(reference).list_quantizations(reference)
