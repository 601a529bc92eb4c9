"""What a pull would do, known before its first byte: which files, how large, what fits, what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi4local import catalog, hardware
from phi4local.errors import UnknownModelError
from phi4local.planning.shape import model_shape
from phi4local.runtime import names, offers
from phi4local.runtime.progress import Progress
from phi4local.runtime.remote_header import defects, remote_facts
from phi4local.store import blobs, sources
from phi4local.store.names import ModelName
from phi4local.store.reference_words import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from phi4local.runtime.facts import FileFacts
    from phi4local.runtime.offers import Choice
    from phi4local.store.references import Reference
    from phi4local.store.remote import RemoteFile, RemoteModel
    from phi4local.store.sources.quantizations import Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class PullSettings:
    """How to pull.

    Attributes:
        source: `huggingface`, `modelscope` or `ollama`, for `OWNER/NAME`.
        connections: streams at once, 1 to 16.
        insecure: allow `http://` to other machines.
        checkpoint: take the safetensors of a repository that has GGUF files too.
    """

    source: str | None = None
    connections: int = 4
    insecure: bool = False
    checkpoint: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan:
    """One model on a server, and what it takes to have it.

    Attributes:
        reference: where it is.
        name: what it will be called here.
        remote: its files.
        quantization: of its GGUF files; `None` for a checkpoint or data set, and where only the file knows.
        choices: all quantizations that are offered there, rated; empty where the server does not tell.
        reason: why this one was chosen; `None` when the person named it.
        facts: what the header says; `None` without a GGUF file.
        notices: what is wrong with the model, one line each.
        missing_bytes: what has to come over the network.
        here_bytes: what is here already.
        connections: streams at once.
    """

    reference: Reference
    name: ModelName
    remote: RemoteModel
    quantization: str | None = None
    choices: tuple[Choice, ...] = ()
    reason: str | None = None
    facts: FileFacts | None = None
    notices: tuple[str, ...] = ()
    missing_bytes: int = 0
    here_bytes: int = 0
    connections: int = 4

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size_bytes for file in self.remote.files)

    @property
    def choice(self) -> Choice | None:
        """The row of the quantization that is pulled."""
        return next((row for row in self.choices if row.quantization == self.quantization), None)

    def to_mapping(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "model": str(self.name),
            "source": str(self.reference),
            "revision": self.remote.revision,
            "quantization": self.quantization,
            "reason": self.reason,
            "size_bytes": self.size_bytes,
            "missing_bytes": self.missing_bytes,
            "files": [
                {"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256}
                for file in self.remote.files
            ],
            "quantizations": [choice.to_mapping() for choice in self.choices],
            "notices": list(self.notices),
        }


def plan_pull(
    model: str,
    settings: PullSettings | None = None,
    *,
    progress: Callable[[Progress], None] = lambda _progress: None,
) -> PullPlan:
    """Ask the server what `model` is and return what a pull would do. Nothing is written.

    Of a GGUF model the header is read and checked: architecture, template, everything `gguf.validate` knows.
    Without a quantization in the name, the recommended one is planned.

    Example: `plan_pull("phi-4").quantization` → "Q4_K_M" on a machine with 16 GB.

    Raises:
        UnknownModelError, InvalidReferenceError: no such name.
        DownloadError: the server does not have it, is not there, or refuses.
        GGUFError, ChatTemplateError: it is no Phi-4 model, or a damaged one.
    """
    settings = settings or PullSettings()
    reference = names.remote_name(model, source=settings.source, insecure=settings.insecure)
    if reference is None:
        known = catalog.model_names()
        raise UnknownModelError(model, catalog.near_names(model), known=known)
    progress(Progress("reading", 0, 0))
    member = model.partition(":")[0].lower()
    plan = _plan(reference, settings)
    if member == plan.reference.member and plan.quantization:  # called as the person calls it
        plan = replace(plan, name=ModelName(model=member, tag=plan.quantization))
    return plan


def _plan(reference: Reference, settings: PullSettings) -> PullPlan:
    if reference.kind == REGISTRY or settings.checkpoint or reference.dataset:
        remote = sources.resolve(reference, checkpoint=settings.checkpoint)
        return _of_files(reference, remote, settings)
    listing = sources.look(reference)
    offered = listing.offers
    if not offered:
        return _of_files(reference, listing.pick(reference), settings)
    if reference.tag or reference.file:
        return _of_offer(reference, listing.pick(reference), offered, settings)
    rows = _rated(offered, None)
    first = offers.recommend(rows)
    facts = remote_facts(_files_of(offered, first))
    rows = _rated(offered, facts)
    best = offers.recommend(rows)
    chosen = replace(reference, tag=best)
    plan = _of_offer(chosen, listing.pick(chosen), offered, settings, facts if best == first else None)
    row = plan.choice
    return replace(plan, reason=offers.reason(row, plan.choices) if row else None)


def _files_of(offered: Sequence[Offer], quantization: str | None) -> tuple[RemoteFile, ...]:
    return next(offer.files for offer in offered if offer.quantization == quantization)


def _rated(offered: Sequence[Offer], facts: FileFacts | None) -> tuple[Choice, ...]:
    return offers.rate(
        {offer.quantization: offer.size_bytes for offer in offered},
        model_shape(facts.header) if facts else None,
        hardware.this_machine(measure=facts is not None),
        here=[offer.quantization for offer in offered if all(map(is_here, offer.files))],
    )


def _of_offer(
    reference: Reference,
    remote: RemoteModel,
    offered: Sequence[Offer],
    settings: PullSettings,
    facts: FileFacts | None = None,
) -> PullPlan:
    paths = {file.path for file in weights_of(remote)}
    quantization = next(
        (offer.quantization for offer in offered if paths == {file.path for file in offer.files}), None
    )
    plan = _of_files(reference, remote, settings, facts)
    tag = quantization or reference.tag or Path(next(iter(paths), "latest")).stem
    return replace(
        plan,
        name=reference.stored_as(tag),
        quantization=quantization or reference.tag,
        choices=_rated(offered, plan.facts),
    )


def _of_files(
    reference: Reference, remote: RemoteModel, settings: PullSettings, facts: FileFacts | None = None
) -> PullPlan:
    weights = weights_of(remote)
    if facts is None and weights:
        facts = remote_facts(weights)
    missing = sum(file.size_bytes for file in remote.files if not is_here(file))
    return PullPlan(
        reference=reference,
        name=reference.stored_as(),
        remote=remote,
        quantization=remote.quantization or None,
        facts=facts,
        notices=tuple(defects(facts)) if facts else (),
        missing_bytes=missing,
        here_bytes=sum(file.size_bytes for file in remote.files) - missing,
        connections=settings.connections,
    )


def weights_of(remote: RemoteModel) -> list[RemoteFile]:
    """Return the GGUF files of a model: one, or its parts in order."""
    kinds = remote.kinds or {}
    return [file for file in remote.files if kinds.get(file.path) == "model"]


def is_here(file: RemoteFile) -> bool:
    """Return whether a file's bytes are in the store."""
    return file.sha256 is not None and blobs.is_here(file.sha256, file.size_bytes)
