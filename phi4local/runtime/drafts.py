"""A draft model beside a model: found, checked for the same vocabulary, and counted in the plan."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from phi4local import gguf, planning
from phi4local.engine.speculation.draft_model import DraftFile
from phi4local.errors import InvalidSettingError
from phi4local.runtime import resolve
from phi4local.runtime.facts import file_facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.gguf import Header
    from phi4local.hardware import Machine
    from phi4local.settings import LoadSettings

MOST_PADDING = 512
"""How many more tokens one vocabulary may have at its end: padding, which no text becomes."""
_SAME = ("tokenizer.ggml.model", "tokenizer.ggml.pre")


def draft_header(name: str, base: Header, *, progress: Callable[[int, int], None] | None = None) -> Header:
    """Return the checked header of a model on this machine that can guess for another one.

    Args:
        name: as for `open_model`; nothing is pulled.
        base: the header of the model that it shall guess for.
        progress: as for `ensure_gguf`.

    Example: `draft_header("./phi-4-draft-Q8_0.gguf", header_of_phi_4)`.

    Raises:
        UnknownModelError, ModelNotInstalledError: there is no such model.
        CheckpointError, ConversionError, FileWriteError, StoreError: it cannot be converted or opened.
        GGUFError: it is damaged or no Phi-4 model.
        InvalidSettingError: its vocabulary is another one.
    """
    header = gguf.validate(resolve.ensure_gguf(resolve.find(name), progress=progress))
    if problem := _difference(header, base):
        raise InvalidSettingError(
            "draft_model",
            f"{name!r} {problem}",
            hint="a draft model guesses token ids: take one with the vocabulary of the model it guesses for",
        )
    return header


def draft_file(header: Header) -> DraftFile:
    """Return what the engine needs of a draft model."""
    file = file_facts(header).model_file()
    return DraftFile(
        path=file.path,
        trained_context_tokens=file.trained_context_tokens,
        layers=file.layers,
        pre_tokenizer=file.pre_tokenizer,
    )


def without_draft(machine: Machine, header: Header, settings: LoadSettings) -> Machine:
    """Return a machine whose memory has what the draft model takes already gone.

    It goes where the other model's first layers go, so main memory and the first GPU both count it.
    """
    asked = replace(settings, gpu_layers=0, tensor_overrides=None, rpc=None, kv_type="f16", force=True)
    alone = replace(machine, gpus=())
    taken = planning.fit(planning.model_shape(header), alone, settings=asked).memory_bytes
    gpus = tuple(replace(gpu, free_bytes=max(0, gpu.free_bytes - taken)) for gpu in machine.gpus[:1])
    return replace(
        machine,
        available_bytes=max(1, machine.available_bytes - taken) if machine.available_bytes else 0,
        gpus=(*gpus, *machine.gpus[1:]),
    )


def _difference(draft: Header, base: Header) -> str | None:
    """Say how two vocabularies differ, or return `None`."""
    for key in _SAME:
        if draft.get(key, None) != base.get(key, None):
            return f"has another tokenizer: {draft.get(key, None)} instead of {base.get(key, None)}"
    ours: Any = draft.get("tokenizer.ggml.tokens", ())
    theirs: Any = base.get("tokenizer.ggml.tokens", ())
    if abs(len(ours) - len(theirs)) > MOST_PADDING:
        return f"has {len(ours):,} tokens instead of {len(theirs):,}"
    for place, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return f"has another token {place:,}: {one!r} instead of {other!r}"
    return None
