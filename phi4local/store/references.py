"""Every way to say which model: names, web links, command lines. Reading one opens no socket.

    phi-4:Q8_0                          a member of the family, where its manifest says it is
    phi4:14b                            Ollama's library
    hf.co/unsloth/phi-4-GGUF:Q4_K_M     Hugging Face; also huggingface.co, hf://, a link to a file or folder
    modelscope.cn/unsloth/phi-4-GGUF    ModelScope; also modelscope.ai, ms://, a link
    HOST/NAMESPACE/MODEL:TAG            any other registry, such as http://127.0.0.1:5000/library/phi4:14b

Source of the grammar: types/model/name.go of ollama fb307609.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass, field

from phi4local import catalog
from phi4local.errors import InvalidReferenceError, UnsafeNameError
from phi4local.store import reference_words as words
from phi4local.store.names import DEFAULT_HOST, DEFAULT_NAMESPACE, DEFAULT_TAG, ModelName
from phi4local.store.paths import safe_path
from phi4local.store.reference_words import HUGGINGFACE, MODELSCOPE, REGISTRY

SOURCES = {
    **dict.fromkeys(("huggingface", "hf"), HUGGINGFACE),
    **dict.fromkeys(("modelscope", "ms"), MODELSCOPE),
    **dict.fromkeys(("registry", "ollama"), REGISTRY),
}
"""What `--source` takes."""

DATASET_TAG = "dataset"
DEFAULT_REVISIONS = {HUGGINGFACE: "main", MODELSCOPE: "master"}
_HOSTS = {HUGGINGFACE: "hf.co", MODELSCOPE: "modelscope.cn", REGISTRY: DEFAULT_HOST}
_PART = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One model or data set at one place.

    Attributes:
        kind: `huggingface`, `modelscope` or `registry`: which protocol is spoken.
        host: as a person names it, with a port if it has one: `hf.co`, `modelscope.cn`, `127.0.0.1:5000`.
        owner, name: of the repository; in a registry, the namespace and the model.
        scheme: `https`, or `http` on loopback.
        tag: the quantization or file that was asked for; in a registry `latest` when none was.
        revision: a branch or commit; `None` for the usual one.
        file: one file; a folder when it ends with `/`.
        dataset: a data set.
        examples: of a data set, take so many.
        member: the family member that is known to be there.
    """

    kind: str
    host: str
    owner: str
    name: str
    scheme: str = "https"
    tag: str | None = None
    revision: str | None = None
    file: str | None = None
    dataset: bool = False
    examples: int | None = None
    member: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def repository(self) -> str:
        """`OWNER/NAME`."""
        return f"{self.owner}/{self.name}"

    def stored_as(self, tag: str | None = None) -> ModelName:
        """Return what the model is called in the store, with a tag that was found out for it.

        Example: `parse("hf.co/unsloth/phi-4-GGUF").stored_as("Q4_K_M")` is
        `hf.co/unsloth/phi-4-GGUF:Q4_K_M`. A data set has the tag `dataset`, since a model may have its name.
        """
        wanted = tag or self.tag or (DATASET_TAG if self.dataset else DEFAULT_TAG)
        return ModelName(host=self.host, namespace=self.owner, model=self.name, tag=wanted)

    def same_as(self, other: Reference) -> bool:
        """Return whether both name the same; upper and lower case are the same, as in Ollama."""
        return str(self).casefold() == str(other).casefold()

    def __str__(self) -> str:
        usual = "http" if words.is_loopback(self.host) else "https"
        scheme = "" if self.scheme == usual else f"{self.scheme}://"
        text = f"{scheme}{self.host}/{'datasets/' if self.dataset else ''}{self.repository}"
        if self.revision:
            text += f"@{urllib.parse.quote(self.revision, safe='')}"
        if self.file:
            text += f"/{urllib.parse.quote(self.file)}"
        text += f":{self.tag}" if self.tag and not self.file else ""
        return text if self.examples is None else f"{text}#{self.examples}"


def parse(text: str, *, source: str | None = None, insecure: bool = False) -> Reference:
    """Return what a name, a link or a pasted `ollama run` line stands for.

    Args:
        text: what a person typed.
        source: where `OWNER/NAME` is meant; one of `SOURCES`.
        insecure: allow `http://` to other machines.

    Examples: `str(parse("https://huggingface.co/unsloth/phi-4-GGUF/blob/main/phi-4-Q4_K_M.gguf"))` is
    `hf.co/unsloth/phi-4-GGUF/phi-4-Q4_K_M.gguf`; `str(parse("ollama run phi4:14b 'hi'"))` is
    `registry.ollama.ai/library/phi4:14b`; `parse("LLM-Research/phi-4", source="modelscope").host` is
    `modelscope.cn`.

    Raises:
        InvalidReferenceError: not a name, or one that could be at several places; the hint says how to.
    """
    if source is not None and source.lower() not in SOURCES:
        raise InvalidReferenceError(source, "is no source", hint=f"choose one of {', '.join(SOURCES)}")
    wanted = SOURCES[source.lower()] if source else None
    given = words.split(words.model_of(text))
    if given.scheme == "http" and not insecure and not words.is_loopback(given.host or ""):
        raise InvalidReferenceError(
            text, "would be fetched without encryption", hint="use https://, or add `--insecure`"
        )
    if given.host is None:
        return _without_host(given, wanted)
    kind = given.kind or wanted or REGISTRY
    if wanted not in (None, kind, REGISTRY):
        hint = f"leave out `--source {source}`"
        raise InvalidReferenceError(text, f"is at {given.host}, not at {wanted}", hint=hint)
    return _at(given, REGISTRY if wanted == REGISTRY else kind, given.host)


def _without_host(given: words.Words, source: str | None) -> Reference:
    if len(given.parts) == 1:
        name, tag, _ = words.name_and_tag(given.parts[0], given.text)
        if name.lower() in catalog.model_names():
            return of_member(catalog.find(name), tag, source=source)
        if source not in (None, REGISTRY):
            hint = f"give OWNER/{given.parts[0]}"
            raise InvalidReferenceError(given.text, f"is no repository at {source}", hint=hint)
        return _registry(given, DEFAULT_HOST)
    if source is None and len(given.parts) == 2:
        source = _only_place(given)
    if source is None and len(given.parts) == 3:  # as in Ollama, even if the host has no dot
        host, *rest = given.parts
        return _registry(given.moved(tuple(rest)), host)
    return _at(given, source or REGISTRY, _HOSTS[source or REGISTRY])


def _only_place(given: words.Words) -> str:
    """Return where `OWNER/NAME` is, if manifests know it at one place only."""
    name, _, _ = words.name_and_tag(given.parts[1], given.text)
    repository = f"{given.parts[0]}/{name}"
    known = [kind for kind in DEFAULT_REVISIONS if catalog.published_as(repository, at=kind)]
    if len(known) == 1:
        return known[0]
    places = [f"`{_HOSTS[kind]}/{given.text}`" for kind in known or _HOSTS]
    raise InvalidReferenceError(
        given.text,
        "could be at several places",
        hint=f"say which: {', '.join(places[:-1])} or {places[-1]}, or add `--source`",
    )


def of_member(member: catalog.Manifest, tag: str | None = None, *, source: str | None = None) -> Reference:
    """Return where a family member is: its ready GGUF files, or else its checkpoint.

    Example: `str(of_member(catalog.find("phi-4"), "Q8_0"))` is `hf.co/microsoft/phi-4-gguf:Q8_0`.

    Raises:
        InvalidReferenceError: it is not known to be at this source.
    """
    kind = SOURCES[source] if source else HUGGINGFACE
    mirrors = sorted(member.modelscope, key=lambda name: not name.lower().endswith("gguf"))
    places = {
        HUGGINGFACE: member.gguf_repository or member.repository,
        MODELSCOPE: next(iter(mirrors), None),
        REGISTRY: member.ollama and f"{DEFAULT_NAMESPACE}/{member.ollama}",
    }
    place = places[kind]
    if place is None:
        known = [name for name, found in places.items() if found]
        hint = f"it is at {' and '.join(known)}" if known else "it comes with phi4local: nothing to pull"
        raise InvalidReferenceError(member.name, f"is not known to be at {kind}", hint=hint)
    owner, _, rest = place.partition("/")
    name, _, usual = rest.partition(":")
    return Reference(
        kind=kind,
        host=_HOSTS[kind],
        owner=owner,
        name=name,
        tag=tag or usual or None,
        member=member.name,
    )


def _at(given: words.Words, kind: str, host: str) -> Reference:
    return _registry(given, host) if kind == REGISTRY else _hub(given, kind, host)


def _registry(given: words.Words, host: str) -> Reference:
    if "@" in given.text:
        raise InvalidReferenceError(given.text, "has a digest", hint="registries take NAME:TAG")
    parts = list(given.parts)
    if host != DEFAULT_HOST and len(parts) != 2:
        hint = f"give {host}/NAMESPACE/MODEL:TAG"
        raise InvalidReferenceError(given.text, "does not name one model", hint=hint)
    if len(parts) > 2:
        raise InvalidReferenceError(given.text, "has too many parts", hint="give HOST/NAMESPACE/MODEL:TAG")
    name, tag, _ = words.name_and_tag(parts[-1], given.text)
    owner = parts[0] if len(parts) == 2 else DEFAULT_NAMESPACE
    known = catalog.published_as(f"{name}:{tag}", at="ollama") if owner == DEFAULT_NAMESPACE else None
    return Reference(
        kind=REGISTRY,
        host=host,
        owner=owner,
        name=name,
        scheme=given.scheme or ("http" if words.is_loopback(host) else "https"),
        tag=tag or DEFAULT_TAG,
        member=known.name if known else None,
    )


def _hub(given: words.Words, kind: str, host: str) -> Reference:
    parts, dataset = list(given.parts), given.parts[:1] == ("datasets",)
    if dataset or (kind == MODELSCOPE and parts[:1] == ["models"]):
        del parts[0]
    if len(parts) < 2:
        raise InvalidReferenceError(given.text, "names no repository", hint=f"give {host}/OWNER/NAME")
    name, tag, at = words.name_and_tag(parts[1], given.text)
    revision, file = words.inside(parts[2:], given)
    revision = at or revision
    if tag and file:
        hint = "give the file or a tag, not both"
        raise InvalidReferenceError(given.text, "names two things", hint=hint)
    known = None if dataset else catalog.published_as(f"{parts[0]}/{name}", at=kind)
    return Reference(
        kind=kind,
        host=host,
        owner=parts[0],
        name=name,
        scheme=given.scheme or ("http" if words.is_loopback(host) else "https"),
        tag=None if tag == DEFAULT_TAG else tag,
        revision=None if revision == DEFAULT_REVISIONS[kind] else revision,
        file=file,
        dataset=dataset,
        examples=given.examples,
        member=known.name if known else None,
    )


def _check(reference: Reference) -> None:
    """Refuse parts that no hub has: they become paths and addresses."""
    parts = {"owner": reference.owner, "name": reference.name, "tag": reference.tag or "latest"}
    for what, part in parts.items():
        if not _PART.fullmatch(part):
            hint = "letters, digits, `.`, `_` and `-`, at most 80"
            raise InvalidReferenceError(str(reference), f"has the {what} `{part}`", hint=hint)
    if reference.revision and not _REVISION.fullmatch(reference.revision):
        hint = "a revision is a branch, a tag or a commit"
        raise InvalidReferenceError(str(reference), "has a strange revision", hint=hint)
    try:
        if reference.kind == REGISTRY:
            reference.stored_as()
        elif reference.file:
            safe_path(reference.file.removesuffix("/"))
    except UnsafeNameError as error:
        raise InvalidReferenceError(str(reference), error.problem, hint=error.hint) from error
