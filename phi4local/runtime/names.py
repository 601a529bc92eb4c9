"""Which words of a person name a model that is on a server, and on which."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from phi4local import catalog
from phi4local.store import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from phi4local.store.references import Reference

OLLAMA_NAMES = ("phi3", "phi3.5", "phi4", "phi4-mini", "phi4-mini-reasoning", "phi4-reasoning")
"""What Ollama's library has of the family; other short names are taken for typing errors."""
_HUBS = ("huggingface.co", "hf.co", "modelscope.cn", "modelscope.ai", "ollama.com", "registry.ollama.ai")
_COMMAND = re.compile(r"(?:ollama|phi4local)\s")


def is_link(word: str) -> bool:
    """Return whether an `http` address names a model on a hub, and not a server that answers.

    Examples: `https://huggingface.co/unsloth/phi-4-GGUF` and `http://127.0.0.1:5000/library/phi4:14b` do;
    `http://127.0.0.1:8080` and `https://api.example.com/openai/v1` do not.
    """
    if not word.lower().startswith(("http://", "https://")):
        return False
    try:
        parts = urlsplit(word)
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return False
    path = parts.path.strip("/").split("/")
    return bool(path[0]) and (host in _HUBS or (len(path) == 2 and not re.fullmatch(r"v\d+", path[1])))


def is_on_a_hub(word: str) -> bool:
    """Return whether a word alone can mean nothing but a model on a server.

    Examples: `hf.co/unsloth/phi-4-GGUF` and `phi4:14b` do; `either/or` does not.
    """
    name = word.partition(":")[0].lower()
    host = name.partition("/")[0]
    return is_link(word) or name in OLLAMA_NAMES or (host in _HUBS and "/" in name)


def remote_name(model: str, *, source: str | None = None, insecure: bool = False) -> Reference | None:
    """Return where `model` is to be had, or `None` when the words name nothing on a server.

    Args:
        model: what a person typed or pasted.
        source: `huggingface`, `modelscope` or `ollama`, when the person said so.
        insecure: allow `http://` to other machines.

    Examples: `phi-4:Q8_0` → microsoft/phi-4-gguf on Hugging Face; `phi4:14b` → Ollama's library;
    `./phi-4.gguf`, `phi4-nano` and `phi-5` → None.

    Raises:
        InvalidReferenceError: a name that could mean several things, or that no server can have.
    """
    if source is None and not _on_a_server(model.strip()):
        return None
    return references.parse(model, source=source, insecure=insecure)


def _on_a_server(word: str) -> bool:
    if _COMMAND.match(word) or is_link(word):
        return True
    if word.startswith((".", "~", "/")) or "\\" in word or (word.endswith(".gguf") and word.count("/") < 2):
        return False
    name = word.partition(":")[0].lower()
    if name in catalog.model_names():
        return catalog.find(name).folder is None
    return "/" in word or name in OLLAMA_NAMES


def split_adapters(name: str, known: Iterable[str] = ()) -> tuple[str, dict[str, float]]:
    """Return the model and the strengths of the adapters that a name asks for.

    Args:
        name: what a request says.
        known: names of models, such as those of files, which may have a `+` of their own.

    Examples: `phi-4` → no adapters; `phi-4:Q4_K_M+nova` → nova 1.0; `phi-4+nova:0.5+terse` → 0.5 and 1.0.
    """
    whole = max((one for one in known if f"{name}+".startswith(f"{one}+")), key=len, default="")
    first, *parts = name[len(whole) :].split("+")
    model = whole + first
    scales = {}
    for part in parts:
        adapter, colon, scale = part.rpartition(":")
        try:
            scales[adapter if colon else part] = float(scale) if colon else 1.0
        except ValueError:
            scales[part] = 1.0
    return model, scales


def with_adapters(name: str, scales: Mapping[str, float]) -> str:
    """Return the name of a model with adapters, as requests say it. Example: `phi-4+nova:0.5`."""
    return "+".join([name, *(f"{adapter}:{scale!r}" for adapter, scale in scales.items())])
