"""Open a model for a command: progress while it takes time, notices afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.cli.consent import consent
from phi4local.cli.options import adapter_scales
from phi4local.cli.progress import shown_progress

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.model import RemoteModel
    from phi4local.settings import LoadSettings


def open_with_progress(
    name: str | None,
    settings: LoadSettings,
    adapters: list[str] | None = None,
    *,
    beside: Mapping[str, Path] | None = None,
    yes: bool = False,
) -> Model | RemoteModel:
    """Return a running model, with bars on a terminal's stderr and the model's notices below them.

    Args:
        name: of the model, as every command takes it.
        settings: how to load it.
        adapters: `FILE[:SCALE]` texts: LoRA adapters to load and to apply.
        beside: adapters to load only, for requests that name them.
        yes: pull a model that is not here without asking.
    """
    from phi4local.runtime.load import load_model
    from phi4local.runtime.model import Model

    scales = adapter_scales(adapters)
    with shown_progress() as progress:
        model = load_model(
            name,
            settings,
            adapters={**(beside or {}), **{path: path for path in scales}},
            progress=progress,
            consent=consent(progress, yes=yes),
        )
    for line in model.notices:
        render.notice(f"note: {line}")
    return model.adapted(**scales) if scales and isinstance(model, Model) else model


def open_here(
    name: str | None,
    settings: LoadSettings,
    *,
    beside: Mapping[str, Path] | None = None,
    yes: bool = False,
) -> Model:
    """Return a running model of this machine; for commands that look inside.

    Raises:
        InvalidSettingError: the name is a server's address.
    """
    from phi4local.errors import InvalidSettingError
    from phi4local.runtime.model import Model

    model = open_with_progress(name, settings, beside=beside, yes=yes)
    if not isinstance(model, Model):
        raise InvalidSettingError(
            "model", "is on a server", hint="this command is for models on this machine"
        )
    return model


def find_file(name: str | None, *, yes: bool = False) -> tuple[str, Path]:
    """Return a model's name and its GGUF file, pulled or converted first where that is needed.

    Args:
        name: as every command takes it; `None` for the default model.
        yes: pull a model that is not here without asking.
    """
    from phi4local.runtime import resolve
    from phi4local.runtime.absent import find_or_pull
    from phi4local.runtime.progress import Progress

    with shown_progress() as progress:
        source = find_or_pull(name or resolve.default_model(), consent(progress, yes=yes), progress)
        stage = "verifying" if source.installed else "converting"
        path = resolve.ensure_gguf(source, progress=lambda *share: progress(Progress(stage, *share)))
    return source.name, path
