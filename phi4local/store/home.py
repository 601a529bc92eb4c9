"""Where a person's models live."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the folder of everything that is kept: `PHI4LOCAL_HOME`, default `~/.phi4local`."""
    chosen = os.environ.get("PHI4LOCAL_HOME")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".phi4local"


def models_folder() -> Path:
    """Return the folder of the models that are ready to run."""
    return home() / "models"
