"""Open a model by name: resolve, convert once, validate, start the engine process, load."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local import gguf, hardware
from phi4local.engine.worker import EngineWorker
from phi4local.errors import ChatTemplateError, InvalidSettingError
from phi4local.messages import Message
from phi4local.prompts import choose_template
from phi4local.runtime import drafts, resolve
from phi4local.runtime.absent import find_or_pull
from phi4local.runtime.defaults import defaults_of
from phi4local.runtime.facts import adapter_files, file_facts
from phi4local.runtime.model import Model
from phi4local.runtime.progress import Progress
from phi4local.runtime.settle import Settled, settle
from phi4local.settings import LoadSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from phi4local.catalog import Manifest
    from phi4local.engine.speculation.draft_model import DraftFile
    from phi4local.gguf import Header
    from phi4local.prompts import ChatTemplate
    from phi4local.runtime.absent import Consent
    from phi4local.runtime.facts import FileFacts


_PROBE = (Message("system", "a"), Message("user", "b"), Message("assistant", "c"), Message("user", "d"))


def open_model(
    name: str | None = None,
    settings: LoadSettings | None = None,
    *,
    adapters: Mapping[str, str | Path] | None = None,
    progress: Callable[[Progress], None] | None = None,
    consent: Consent | None = None,
) -> Model:
    """Return a running model.

    Args:
        name: a model here or on a server (`find_or_pull`); `None` for the default model.
        settings: how to load it; unset fields are decided by the model and the machine.
        adapters: LoRA adapters to load with it, GGUF files or PEFT folders, by the names for `Model.adapted`.
        progress: told while a model is pulled or converted and while the file is loaded.
        consent: asked before a model that is not here is pulled; `None` refuses without asking a server.

    Example: `open_model("phi4-nano").chat([Message("user", "Hello")]).result().text`.

    Raises:
        UnknownModelError, ModelNotInstalledError: nothing to open.
        StoreError: an installed file is not what it was, or a setting of its Modelfile cannot be.
        CheckpointError, ConversionError, FileWriteError, DownloadError: conversion or pull failed.
        GGUFError, ChatTemplateError: the file is damaged or no Phi-4 model; its template is refused.
        NotEnoughMemoryError, GpuMissingError: the plan says that it won't fit.
        EngineError: llama.cpp could not load it.
        InvalidSettingError: a device, buffer type or tensor that is not there, a draft of other tokens.
    """
    tell = progress or (lambda _: None)
    source = find_or_pull(name or resolve.default_model(), consent, tell)
    # Starting the process and loading the library takes 0.1 s, which the conversion or validation hides.
    worker = EngineWorker(on_loading=lambda share: tell(Progress("loading", round(share * 100), 100)))
    try:
        stage = "verifying" if source.installed else "converting"
        path = resolve.ensure_gguf(source, progress=lambda *share: tell(Progress(stage, *share)))
        file = file_facts(gguf.validate(path))
        defaults = defaults_of(source.installed, special_tokens=file.special_tokens())
        wanted = (settings or LoadSettings()).filled_from(defaults.loading)
        settled, draft = _settled(file.header, wanted, tell)
        template, *notice = _template(file, source.manifest or file.manifest)
        adapted = adapter_files({**defaults.adapters, **(adapters or {})}, file.header)
        facts = worker.load(replace(file.model_file(adapted), draft=draft), settled.settings)
    except BaseException:
        worker.close()
        raise
    said = (*notice, *_template_notices(template), *_setting_notices(settled, facts.settings))
    model = Model(source.name, worker=worker, file=file, facts=facts, template=template, notices=said)
    model.bring_along(defaults, adapted)
    return model


def _settled(
    header: Header, settings: LoadSettings, tell: Callable[[Progress], None]
) -> tuple[Settled, DraftFile | None]:
    """Return what fits, and the draft model's file beside it, if one is wanted."""
    check_overrides(settings, header)
    if settings.draft_model is None or settings.speculation == "off":
        return settle(header, settings), None
    draft = drafts.draft_header(
        settings.draft_model, header, progress=lambda *share: tell(Progress("converting", *share))
    )
    machine = drafts.without_draft(hardware.this_machine(), draft, settings)
    return settle(header, settings, machine), drafts.draft_file(draft)


def _template(file: FileFacts, manifest: Manifest | None) -> tuple[ChatTemplate, *tuple[str, ...]]:
    """Return the chat template, and a notice about it if there is one."""
    template, notice = choose_template(
        file.chat_template, manifest, bos_token=file.bos_token, eos_token=file.eos_token
    )
    return (template, notice) if notice else (template,)


def _template_notices(template: ChatTemplate) -> Iterator[str]:
    """Say what a template does with messages that a person would not expect."""
    try:
        probe = template.segments(_PROBE, strip_whitespace=False)
    except ChatTemplateError:
        yield "this model's chat template refuses conversations with a system message"
        return
    if 0 in probe.dropped:
        yield "this model's chat template ignores system messages"
    if probe.altered:
        yield "this model's chat template rewrites messages; they are passed on as they were written"


def check_overrides(settings: LoadSettings, header: Header) -> None:
    """Refuse an expression that fits nothing: llama.cpp would ignore it without a word."""
    names = [tensor.name for tensor in header.tensors]
    for override in settings.placement().overrides:
        if not any(re.search(override.pattern, name) for name in names):
            raise InvalidSettingError(
                "tensor_overrides",
                f"has the expression {override.pattern!r}, which fits no tensor of this model",
                hint=f"names look like `{names[-1]}`",
            )


def _setting_notices(settled: Settled, got: LoadSettings) -> Iterator[str]:
    """Say which wishes the model or the machine did not fulfil."""
    asked = settled.asked
    yield from settled.notices
    if asked.context_tokens is not None and asked.context_tokens != got.context_tokens:
        yield f"the context has {got.context_tokens:,} tokens, this model's own limit"
    if asked.rpc:
        yield "RPC servers read the prompts, without encryption or a password: use a trusted network only"
    if asked.gpu_layers and not got.gpu_layers:
        yield "this build of llama.cpp sees no GPU: all layers are on the CPU"
