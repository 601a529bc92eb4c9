"""Open a model for a command: progress while it takes time, notices afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.cli import render

if TYPE_CHECKING:
    from phi4local.runtime.model import Model
    from phi4local.settings import LoadSettings


def open_with_progress(name: str | None, settings: LoadSettings) -> Model:
    """Return a running model, with bars on a terminal's stderr and the model's notices below them."""
    from phi4local.runtime.open import open_model

    with render.progress_bar() as progress:
        model = open_model(name, settings, progress=progress)
    for line in model.notices:
        render.notice(f"note: {line}")
    return model
