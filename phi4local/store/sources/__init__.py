"""Where models come from: one module for each kind of server.

reference = references.parse("hf.co/unsloth/phi-4-GGUF:Q4_K_M")
model = sources.resolve(reference)          # files with sizes and digests; nothing fetched yet
offers = sources.look(reference).offers     # every quantization that a hub has of it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.store.reference_words import HUGGINGFACE, MODELSCOPE, REGISTRY
from phi4local.store.sources import huggingface, modelscope, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.store.references import Reference
    from phi4local.store.remote import RemoteModel
    from phi4local.store.sources.listing import Listing

_LOOKS: dict[str, Callable[[Reference], Listing]] = {
    HUGGINGFACE: huggingface.look,
    MODELSCOPE: modelscope.look,
}
"""The servers that list what they have. A registry does not: its tags have to be known."""


def look(reference: Reference) -> Listing:
    """Return everything in a repository of Hugging Face or ModelScope; nothing is fetched yet.

    Raises:
        RemoteNotFoundError: no such repository or revision.
        AccessDeniedError: private or gated.
        DownloadError: the server is not reached, or answers nonsense.
    """
    return _LOOKS[reference.kind](reference)


def resolve(reference: Reference, *, checkpoint: bool = False) -> RemoteModel:
    """Return what a reference means now, with sizes and digests; nothing is fetched yet.

    Args:
        reference: from `references.parse`.
        checkpoint: take the safetensors of a repository that has GGUF files too.

    Example: `hf.co/unsloth/phi-4-GGUF:Q4_K_M` → one file, `phi-4-Q4_K_M.gguf`, with its SHA-256.

    Raises:
        RemoteNotFoundError: no such repository, revision, file or tag; the hint says what is there.
        AccessDeniedError: private or gated.
        DownloadError: the server is not reached, or answers nonsense.
    """
    if reference.kind == REGISTRY:
        return registry.resolve(reference, checkpoint=checkpoint)
    return look(reference).pick(reference, checkpoint=checkpoint)
