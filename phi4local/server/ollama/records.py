"""What `/api/tags`, `/api/ps` and `/api/show` say about models, from the store and from what is loaded."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from phi4local import gguf
from phi4local.runtime import create, resolve
from phi4local.runtime.absent import find_or_pull
from phi4local.server.ollama.durations import moment
from phi4local.store import installed, modelfile, publish

if TYPE_CHECKING:
    from phi4local.gguf import Header
    from phi4local.runtime.pool import LoadedModel
    from phi4local.store.installed import InstalledModel

NEVER = "9999-12-31T23:59:59.000000Z"
"""When a model that stays loaded is unloaded."""
_TEMPLATE_KEY = "tokenizer.chat_template"
_LONGEST_SECONDS = 3e9
"""A hundred years: a later moment has no date."""
_SHORT = 64
"""Lists of more values, such as the vocabulary, are told only when asked for."""


def tags(loaded: tuple[LoadedModel, ...]) -> list[dict[str, Any]]:
    """Return the models that a request can name: those of the store, newest first, then other loaded ones."""
    here = [model for model in installed.installed() if model.kind == "gguf"]
    paths = {model.path for model in here}
    others = [one for one in loaded if one.model.file.header.path not in paths]
    return [
        *({**_names(str(model.reference)), **_stored(model)} for model in here),
        *({**_names(one.name), **_opened(one)} for one in others),
    ]


def running(loaded: tuple[LoadedModel, ...]) -> list[dict[str, Any]]:
    """Return what is in memory.

    `size` is that of the weights; `size_vram` is the share of its layers that is on a GPU.
    """
    found = []
    for one in loaded:
        kept = installed.at(one.model.file.header.path)
        facts, layers = one.model.facts, one.model.file.layers
        on_gpu = min(facts.settings.gpu_layers or 0, layers) / layers
        found.append(
            {
                **_names(one.name),
                "size": facts.size_bytes,
                "digest": kept.manifest.sha256 if kept else "",
                "details": _details(one.model.file.header, kept),
                "expires_at": _expires(one),
                "size_vram": round(facts.size_bytes * on_gpu),
                "context_length": one.model.context_tokens,
            }
        )
    return found


def _expires(one: LoadedModel) -> str:
    if one.seconds_left is None:
        return NEVER
    return moment(time.time() + min(one.seconds_left, _LONGEST_SECONDS))


def shown(name: str, *, verbose: bool = False) -> dict[str, Any]:
    """Return what a model of the store is; nothing is loaded.

    Args:
        name: as `resolve.find` knows it.
        verbose: long lists of the header, and the tensors, too.

    Raises:
        UnknownModelError, ModelNotInstalledError, GGUFError: as `open_model`.
    """
    source = find_or_pull(name, None)
    path = resolve.ensure_gguf(source)
    kept = source.installed or installed.at(path)
    header = gguf.validate(path)
    described = create.described(kept) if kept else modelfile.Modelfile(base=str(path))
    member = source.manifest
    more = {"tensors": _tensors(header)} if verbose else {}
    return {
        "license": "\n\n".join(described.licenses) or (member.license if member else ""),
        "modelfile": modelfile.render(described),
        "parameters": _parameters(described),
        "template": described.template or "",
        "system": described.system or "",
        "messages": [{"role": role, "content": text} for role, text in described.messages],
        "details": _details(header, kept),
        "model_info": _model_info(header, verbose=verbose),
        "capabilities": capabilities(thinks=member is not None and member.thinking),
        "modified_at": moment(path.stat().st_mtime if kept is None else kept.installed_seconds),
        **more,
    }


def capabilities(*, thinks: bool) -> list[str]:
    """Return what a model can do, in Ollama's words."""
    return ["completion", "tools", *(["thinking"] if thinks else [])]


def _names(name: str) -> dict[str, Any]:
    return {"name": name, "model": name}


def _stored(model: InstalledModel) -> dict[str, Any]:
    config = publish.read_config(model.manifest)
    family = str(config.get("model_family") or "phi3")
    return {
        "modified_at": moment(model.installed_seconds),
        "size": model.size_bytes,
        "digest": model.manifest.sha256,
        "details": _detail_fields(family, model.parameters, model.quantization),
    }


def _opened(one: LoadedModel) -> dict[str, Any]:
    header = one.model.file.header
    return {
        "modified_at": moment(header.path.stat().st_mtime if header.path.exists() else 0),
        "size": header.file_bytes,
        "digest": "",
        "details": _details(header, None),
    }


def _details(header: Header, kept: InstalledModel | None) -> dict[str, Any]:
    if kept is not None:
        details: dict[str, Any] = _stored(kept)["details"]
        return details
    size = publish.human_number(_parameter_count(header))
    return _detail_fields(header.architecture or "", size, gguf.quantization_of(header))


def _detail_fields(family: str, parameter_size: str, quantization: str) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": parameter_size,
        "quantization_level": quantization,
    }


def _parameters(described: modelfile.Modelfile) -> str:
    return "\n".join(
        f"{name:<30} {one}"
        for name, value in described.parameters.items()
        for one in (value if isinstance(value, list) else [value])
    )


def _parameter_count(header: Header) -> int:
    return sum(math.prod(tensor.shape) for tensor in header.tensors)


def _model_info(header: Header, *, verbose: bool) -> dict[str, Any]:
    info = {
        key: _value(value, verbose=verbose) for key, value in header.metadata.items() if key != _TEMPLATE_KEY
    }
    return {**info, "general.parameter_count": _parameter_count(header)}


def _value(value: object, *, verbose: bool) -> object:
    if isinstance(value, tuple):
        return [_value(one, verbose=verbose) for one in value] if verbose or len(value) <= _SHORT else None
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no such number
    return value


def _tensors(header: Header) -> list[dict[str, Any]]:
    return [
        {"name": tensor.name, "type": tensor.type.name, "shape": list(tensor.shape)}
        for tensor in header.tensors
    ]
