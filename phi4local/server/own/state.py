"""What a server says about itself to the person's own command line."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from phi4local.gguf import quantization_of
from phi4local.runtime.remote.running import PROTOCOL, ServedModel

if TYPE_CHECKING:
    from phi4local.runtime.pool import LoadedModel


def state(loaded: tuple[LoadedModel, ...], *, guarded: bool, owner: bool) -> dict[str, Any]:
    """Return the body of `/phi4local/state`.

    Args:
        loaded: what is in memory.
        guarded: whether a guard checks questions and answers.
        owner: whether the person asks who started the server; others are not told where files are.
    """
    models = [asdict(_served(one, owner=owner)) for one in loaded]
    return {"protocol": PROTOCOL, "guarded": guarded, "models": models}


def _served(one: LoadedModel, *, owner: bool) -> ServedModel:
    model = one.model
    header = model.file.header
    return ServedModel(
        name=one.name,
        path=str(header.path.absolute()) if owner else "",
        file_bytes=header.file_bytes,
        loaded_seconds=one.loaded_seconds,
        quantization=quantization_of(header),
        size_bytes=model.facts.size_bytes,
        context_tokens=model.context_tokens,
        trained_context_tokens=model.trained_context_tokens,
        thinking=model.thinking,
        default_stop=model.default_stop,
        settings=model.facts.settings.to_mapping() if owner else {},
        adapters=model.adapter_names,
        users=one.users,
        seconds_left=one.seconds_left,
    )
