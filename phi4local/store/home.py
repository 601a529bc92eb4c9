"""Where a person's models live."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from phi4local.errors import FileWriteError
from phi4local.files import TEMPORARY_SUFFIX

HOME_HINT = "set PHI4LOCAL_HOME to a folder that can be written"
PULL_PREFIX = ".pull-"
STALE_SECONDS = 24 * 3600
"""Nothing is written for a day without a pause; what is older was left by a process that was killed."""


def home() -> Path:
    """Return the folder of everything that is kept: `PHI4LOCAL_HOME`, default `~/.phi4local`."""
    chosen = os.environ.get("PHI4LOCAL_HOME")
    try:
        return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".phi4local"
    except RuntimeError as error:  # no such user, or no home folder at all
        raise FileWriteError(chosen or "~", str(error).lower(), hint=HOME_HINT) from error


def models_folder() -> Path:
    """Return the folder of the models that are ready to run."""
    return home() / "models"


def make_models_folder() -> Path:
    """Make the models folder if it is not there, and clear what a killed process left in it.

    Raises:
        FileWriteError: the operating system refused.
    """
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise FileWriteError(folder, problem, hint=HOME_HINT) from error
    _sweep(folder)
    return folder


def _sweep(folder: Path) -> None:
    oldest = time.time() - STALE_SECONDS
    for left in (*folder.glob(f".phi4local-*{TEMPORARY_SUFFIX}"), *folder.glob(f"{PULL_PREFIX}*")):
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < oldest:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
