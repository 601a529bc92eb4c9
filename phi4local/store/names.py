"""The names that models have in the store: Ollama's grammar, `[host/][namespace/]model[:tag]`."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

from phi4local.errors import UnsafeNameError
from phi4local.store.paths import safe_path

DEFAULT_HOST, DEFAULT_NAMESPACE = "registry.ollama.ai", "library"
DEFAULT_TAG = "latest"
_MOST_CHARACTERS = 80
_PORT = "_"
"""Stands for the colon before a port where no file name can have one."""

_RULES = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}
_NAMESPACE_ELSEWHERE = _RULES["model"]
"""Hugging Face and ModelScope have owners with a dot in their names, as in `hf.co/01.ai/…`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """What a model is called in the store: a path of four parts below `manifests/`.

    What has no host is at the default one, as in Ollama: models made here, and those of its library.

    Example: `phi-4:Q8_0` is `registry.ollama.ai/library/phi-4/Q8_0`, and
    `hf.co/unsloth/phi-4-GGUF:Q4_K_M` is `hf.co/unsloth/phi-4-GGUF/Q4_K_M`.

    Raises:
        UnsafeNameError: a part with characters that the grammar does not have.
    """

    model: str
    tag: str = DEFAULT_TAG
    namespace: str = DEFAULT_NAMESPACE
    host: str = DEFAULT_HOST

    def __post_init__(self) -> None:
        for part, rule in _RULES.items():
            text = getattr(self, part)
            if part == "namespace" and self.host != DEFAULT_HOST:
                rule = _NAMESPACE_ELSEWHERE  # noqa: PLW2901
            if not rule.fullmatch(text):
                raise UnsafeNameError(part, text, "is not allowed in a model's name")
        safe_path(self.folder.replace(":", _PORT, 1))

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a name as Ollama does, from the right.

        Example: `ModelName.parse("127.0.0.1:5000/library/phi4")` has the host `127.0.0.1:5000`, the
        namespace `library` and the tag `latest`.

        Raises:
            UnsafeNameError: not a name.
        """
        rest, colon, tag = text.rpartition(":")
        if not colon or "/" in tag:
            rest, tag = text, DEFAULT_TAG
        parts = rest.split("/")
        if len(parts) > 3:
            raise UnsafeNameError("name", text, "has too many parts")
        host, namespace, model = (*(DEFAULT_HOST, DEFAULT_NAMESPACE)[: 3 - len(parts)], *parts)
        return cls(host=host, namespace=namespace, model=model, tag=tag)

    @classmethod
    def for_words(cls, words: str, tag: str) -> ModelName:
        """Return a name without a host for any words; odd characters become `-`.

        Example: ("my tune!", "Q8_0") → `my-tune:Q8_0`.
        """
        model = re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip(".-")[:_MOST_CHARACTERS].rstrip(".-")
        try:
            return cls(model=model or "model", tag=tag)
        except UnsafeNameError:  # a device of Windows, such as `nul`
            return cls(model=f"model-{model}"[:_MOST_CHARACTERS], tag=tag)

    @property
    def folder(self) -> str:
        """The four parts as a relative path; a colon of the host becomes `_` on Windows."""
        host = self.host.replace(":", _PORT) if sys.platform == "win32" else self.host
        return f"{host}/{self.namespace}/{self.model}/{self.tag}"

    @classmethod
    def from_folder(cls, folder: str) -> ModelName:
        """Return the name of a manifest by its path below `manifests/`, with `/` between four parts.

        Raises:
            UnsafeNameError: not such a path.
        """
        host, namespace, model, tag = (*folder.split("/"), "", "", "", "")[:4]
        if sys.platform == "win32":
            host = re.sub(rf"{_PORT}(\d+)$", r":\1", host)
        return cls(host=host, namespace=namespace, model=model, tag=tag)

    @property
    def without_tag(self) -> str:
        """The shortest text that names the model: `phi-4`, `hf.co/unsloth/phi-4-GGUF`."""
        if self.host != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{self.model}"
        return self.model if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/{self.model}"

    def __str__(self) -> str:
        return f"{self.without_tag}:{self.tag}"

    def same_as(self, other: ModelName) -> bool:
        """Return whether both name the same model; upper and lower case are the same, as in Ollama."""
        return str(self).casefold() == str(other).casefold()
