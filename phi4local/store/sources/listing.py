"""What to fetch of a repository's files: the same for every hub that lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.errors import RemoteNotFoundError, UnknownTagError
from phi4local.store.remote import RemoteModel
from phi4local.store.sources import quantizations

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phi4local.store.references import Reference
    from phi4local.store.remote import RemoteFile

MOST_FILES = 4096
_CHECKPOINT = (".safetensors", ".json", ".txt", ".model", ".jinja")
"""Never `.bin`, `.pt` or `.py`: these are programs."""
_DATA = (".json", ".jsonl", ".parquet", ".csv", ".tsv", ".txt", ".arrow")
_OLLAMA = ("template", "system", "params")
"""Files of these names say how Ollama should talk to the model."""
_MOST_WORDS_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Listing:
    """All files of a repository at a hub, as one question to its server found them.

    Attributes:
        revision: the commit or branch that was listed.
        files: without those whose names no folder could hold.
    """

    revision: str
    files: tuple[RemoteFile, ...]

    @property
    def offers(self) -> tuple[quantizations.Offer, ...]:
        """The GGUF models among them, smallest first."""
        return quantizations.offers(self.files)

    def pick(self, reference: Reference, *, checkpoint: bool = False) -> RemoteModel:
        """Return what a reference means here; see `pick`."""
        return pick(reference, self.revision, self.files, checkpoint=checkpoint)


def pick(
    reference: Reference, revision: str, files: Sequence[RemoteFile], *, checkpoint: bool = False
) -> RemoteModel:
    """Return what a reference means among the files of its repository.

    Args:
        reference: with a tag, a file, a folder or none of them.
        revision: the commit or branch that was listed.
        files: all of them; hostile names are left out already.
        checkpoint: take the safetensors even if there are GGUF files too.

    Raises:
        UnknownTagError: a tag that fits nothing, or several files; the hint lists what is there.
        RemoteNotFoundError: no such file, or nothing that is a model.
    """
    where = f"{reference.host}/{reference.repository}"
    named = [file for file in files if file.path == reference.file]
    if reference.file and not named and not reference.file.endswith("/"):
        raise RemoteNotFoundError(f"`{where}` has no file `{reference.file}`", hint=_some(files))
    if reference.dataset:
        return _model(reference, revision, "dataset", named or _data(reference, files))
    if named and not named[0].path.lower().endswith(".gguf"):
        return _model(reference, revision, "checkpoint", named)
    here = (
        [file for file in files if file.path.startswith(reference.file or "")] if not named else list(files)
    )
    offered = quantizations.offers(here)
    if named:
        offered = tuple(offer for offer in offered if named[0] in offer.files)
    if checkpoint or not offered:
        return _checkpoint(reference, revision, here, wanted=checkpoint)
    offer = quantizations.choose(offered, reference.tag, where=where)
    words = [file for file in files if file.path in _OLLAMA and file.size_bytes <= _MOST_WORDS_BYTES]
    return RemoteModel(
        reference=reference,
        revision=revision,
        files=(*offer.files, *words),
        quantization=offer.quantization,
        kinds={file.path: "model" for file in offer.files} | {file.path: file.path for file in words},
    )


def _checkpoint(
    reference: Reference, revision: str, files: Sequence[RemoteFile], *, wanted: bool
) -> RemoteModel:
    where = f"{reference.host}/{reference.repository}"
    folder = reference.file or ""
    found = [
        file
        for file in files
        if "/" not in file.path.removeprefix(folder)
        and (file.path.lower().endswith(_CHECKPOINT) or "license" in file.path.lower())
    ]
    if not any(file.path.endswith(".safetensors") for file in found):
        raise RemoteNotFoundError(
            f"`{where}` has neither GGUF nor safetensors files", hint=_some(files) if files else None
        )
    if reference.tag and not wanted:
        hint = f"convert it: add `--convert {reference.tag}` to the name without the tag"
        raise UnknownTagError(f"`{where}` has no GGUF files; it is a checkpoint", hint=hint)
    return _model(reference, revision, "checkpoint", found)


def _data(reference: Reference, files: Iterable[RemoteFile]) -> list[RemoteFile]:
    found = [
        file
        for file in files
        if file.path.startswith(reference.file or "") and file.path.lower().endswith(_DATA)
    ]
    if not found:
        raise RemoteNotFoundError(
            f"`{reference.host}/{reference.repository}` has no data that can be read",
            hint=f"it should have files that end with one of {', '.join(_DATA)}",
        )
    return found


def _model(reference: Reference, revision: str, kind: str, files: Iterable[RemoteFile]) -> RemoteModel:
    return RemoteModel(reference=reference, revision=revision, kind=kind, files=tuple(files))


def _some(files: Sequence[RemoteFile]) -> str:
    names = ", ".join(file.path for file in files[:10])
    return f"it has {names}{' and more' if len(files) > 10 else ''}" if files else "it is empty"
