"""Take apart what a person typed: command line, scheme, host, path, tag."""

from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from dataclasses import dataclass, replace

from phi4local.errors import InvalidReferenceError
from phi4local.store.names import DEFAULT_HOST

HUGGINGFACE, MODELSCOPE, REGISTRY = "huggingface", "modelscope", "registry"

_COMMAND = re.compile(r"(?:[$>]\s*)?(?:ollama|phi4local)\s+(?:run|pull|chat)\s+(?:-\S+\s+)*(\S+)")
_SCHEMES = {"http": None, "https": None, "hf": "hf.co", "ms": "modelscope.cn"}
_ALIASES = {
    "huggingface.co": "hf.co",
    "www.huggingface.co": "hf.co",
    "www.hf.co": "hf.co",
    "www.modelscope.cn": "modelscope.cn",
    "www.modelscope.ai": "modelscope.ai",
    "ollama.com": DEFAULT_HOST,
    "www.ollama.com": DEFAULT_HOST,
}
_KINDS = {
    "hf.co": HUGGINGFACE,
    "modelscope.cn": MODELSCOPE,
    "modelscope.ai": MODELSCOPE,
    DEFAULT_HOST: REGISTRY,
}
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,249}(?::[0-9]{1,5})?")
_OVERVIEW = {"files", "summary", "tags"}
"""Last words of links to a repository's pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A name in its parts.

    Attributes:
        text: the whole of it, without scheme, for messages.
        scheme: `http` or `https` if one was given.
        host: the host as we call it, or `None` without one.
        kind: the protocol that this host is known to speak.
        parts: what is between the slashes, behind the host.
        folder: it ended with a slash.
        examples: the number behind `#`.
    """

    text: str
    scheme: str | None
    host: str | None
    kind: str | None
    parts: tuple[str, ...]
    folder: bool = False
    examples: int | None = None

    def moved(self, parts: tuple[str, ...]) -> Words:
        """Return the same with other parts."""
        return replace(self, parts=parts)


def model_of(text: str) -> str:
    """Return the model in a pasted command, or the text itself without quotes around it.

    Example: `ollama run phi4:14b "hi"` → `phi4:14b`.

    Raises:
        InvalidReferenceError: empty, or several words, or characters that no name has.
    """
    stripped = text.strip()
    found = _COMMAND.match(stripped)
    model = (found[1] if found else stripped).strip("\"'`")
    if not model or len(model) > 2048:
        raise InvalidReferenceError(model[:80], "is no name", hint="see `phi4local list`")
    if re.search(r"[\s\x00-\x1f\x7f-\x9f\\<>|*\"]", model) or not model.isascii():
        raise InvalidReferenceError(
            model, "has characters that no model's name has", hint="a name is [host/owner/]model[:tag]"
        )
    return model


def split(model: str) -> Words:
    """Take a name apart; which part is the owner and which the tag is decided later.

    Example: `https://huggingface.co/a/b/tree/main?x=1` → host `hf.co`, parts `("a", "b", "tree", "main")`.

    Raises:
        InvalidReferenceError: a scheme or host that cannot be, or a path instead of a name.
    """
    scheme, mark, rest = model.rpartition("://")
    if mark and scheme.lower() not in _SCHEMES:
        hint = "use https://, hf:// or ms://"
        raise InvalidReferenceError(model, f"has the scheme `{scheme}`", hint=hint)
    rest, _, fragment = rest.partition("#")
    rest = rest.partition("?")[0] if mark else rest
    folder, rest = rest.endswith("/"), rest.rstrip("/")
    parts = tuple(rest.split("/"))
    if "" in parts or parts[0] in (".", "..", "~") or re.match(r"[A-Za-z]:$", parts[0]):
        raise InvalidReferenceError(model, "is no name", hint="is it a file? check that its path exists")
    web = scheme.lower() in ("http", "https")
    words = Words(
        text=rest,
        scheme=scheme.lower() if web else None,
        host=_SCHEMES.get(scheme.lower()) if mark else None,
        kind=None,
        parts=parts,
        folder=folder,
        examples=int(fragment) if re.fullmatch(r"[0-9]{1,9}", fragment) else None,
    )
    if words.host is None and (web or (len(parts) > 1 and _looks_like_a_host(parts[0]))):
        words = _with_host(words)
    return replace(words, kind=_kind(words.host) if words.host else None)


def _with_host(words: Words) -> Words:
    host = words.parts[0].lower()
    if not _HOST.fullmatch(host):
        raise InvalidReferenceError(words.text, f"has the host `{host}`", hint="give HOST or HOST:PORT")
    return replace(words, host=_ALIASES.get(host, host), parts=words.parts[1:])


def _looks_like_a_host(part: str) -> bool:
    return "." in part or ":" in part or part.lower() == "localhost"


def _kind(host: str) -> str | None:
    """Return what a host speaks; the endpoints of the environment count as what they stand for."""
    for name, kind in (("HF_ENDPOINT", HUGGINGFACE), ("MODELSCOPE_ENDPOINT", MODELSCOPE)):
        if host == _netloc(os.environ.get(name, "")):
            return kind
    return _KINDS.get(host)


def _netloc(address: str) -> str:
    """Return host and port of an address; nothing of what is none: who asks that hub says so."""
    try:
        return urllib.parse.urlsplit(address).netloc.lower()
    except ValueError:
        return ""


def name_and_tag(part: str, text: str) -> tuple[str, str | None, str | None]:
    """Return name, tag and revision of `NAME[@REVISION][:TAG]`.

    Example: `phi-4-GGUF@v1:Q4_K_M` → `("phi-4-GGUF", "Q4_K_M", "v1")`.

    Raises:
        InvalidReferenceError: a mark with nothing behind it.
    """
    rest, colon, tag = part.partition(":")
    name, at, revision = rest.partition("@")
    if not name or (colon and not tag) or (at and not revision):
        raise InvalidReferenceError(text, "is not complete", hint="a name is [host/owner/]model[:tag]")
    return name, tag or None, urllib.parse.unquote(revision) or None


def inside(parts: list[str], words: Words) -> tuple[str | None, str | None]:
    """Return revision and file of what follows `OWNER/NAME` in a link; a folder ends with `/`.

    Examples: `["blob", "main", "a.gguf"]` → `("main", "a.gguf")`; `["tree", "main", "Q4_K_M"]` →
    `("main", "Q4_K_M/")`; `["file", "view", "master", "a.gguf"]` → `("master", "a.gguf")`.

    Raises:
        InvalidReferenceError: a link to something else.
    """
    if not parts or (len(parts) == 1 and parts[0] in _OVERVIEW):
        return None, None
    decoded = [urllib.parse.unquote(part) for part in parts]
    if decoded[:2] == ["file", "view"]:
        decoded[:2] = ["blob"]
    if decoded[0] in ("blob", "resolve", "raw", "tree") and len(decoded) > 1:
        path = "/".join(decoded[2:])
        return decoded[1], (f"{path}/" if decoded[0] == "tree" else path) if path else None
    if "." in decoded[-1] or words.folder:
        return None, "/".join(decoded) + ("/" if words.folder else "")
    raise InvalidReferenceError(
        words.text, "is a page, not a model", hint="paste the address of the repository or of a file"
    )


def is_loopback(host: str) -> bool:
    """Return whether a host, with or without a port, is this machine. Example: `localhost:5000`."""
    try:
        name = urllib.parse.urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
