"""What a model is called, and where it computes, in a few words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.cli.text import visible

if TYPE_CHECKING:
    from phi4local.runtime.language_model import LanguageModel


def title_of(model: LanguageModel) -> str:
    """Return name and quantization. Example: "phi-4 Q4_K_M"."""
    from phi4local.gguf.file_types import quantization_of
    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.own_model import OwnModel

    if isinstance(model, OwnModel):
        kind = visible(model.served.quantization)
    elif isinstance(model, Model):
        kind = quantization_of(model.file.header)
    else:
        return visible(model.name)
    known = kind == "unknown" or kind.lower() in model.name.lower()
    return visible(model.name if known else f"{model.name} {kind}")


def digest_of(model: LanguageModel) -> str | None:
    """Return a name for the content of a model's file; nothing of another machine's."""
    from phi4local.store.results import model_digest

    path = file_of(model)
    return (model_digest(path) or None) if path else None


def file_of(model: LanguageModel) -> Path | None:
    """Return the file of a model that runs on this machine, in this process or in a server of the person."""
    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.own_model import OwnModel

    if isinstance(model, OwnModel):
        return Path(model.served.path) if model.served.path else None
    return model.file.header.path if isinstance(model, Model) else None


def place_of(model: LanguageModel) -> str:
    """Return where the layers are. Examples: "CPU", "41 of 41 layers on the GPU"."""
    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.model import RemoteModel

    if isinstance(model, RemoteModel):
        return model.address
    if not isinstance(model, Model):
        return ""
    on_gpu = model.facts.settings.gpu_layers or 0
    return f"{on_gpu} of {model.file.layers + 1} layers on the GPU" if on_gpu else "CPU"


def headline(model: LanguageModel) -> str:
    """Return what a person sees first of a model, in one line.

    Example: "phi-4, 9.06 GB, 16,384 tokens of context, all layers on the CPU, 8 threads".
    """
    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.own_model import OwnModel

    if isinstance(model, OwnModel):
        size = render.size(model.served.file_bytes)
        return f"{visible(model.name)}, {size}, {model.context_tokens:,} tokens of context, on the server"
    if not isinstance(model, Model):
        return f"{visible(model.name)} on {place_of(model)}"
    settings = model.facts.settings
    on_gpu, layers = settings.gpu_layers or 0, model.file.layers + 1
    where = [place_of(model) if on_gpu else "all layers on the CPU"]
    where += [f"{settings.threads} threads"] if on_gpu < layers else []
    size = render.size(model.file.header.file_bytes)
    return f"{visible(model.name)}, {size}, {model.context_tokens:,} tokens of context, {', '.join(where)}"
