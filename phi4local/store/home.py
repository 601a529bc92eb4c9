"""Where a person's models live."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from phi4local.errors import FileWriteError
from phi4local.store.paths import safe_path

HOME_HINT = "set PHI4LOCAL_HOME to a folder that can be written"
STALE_SECONDS = 30 * 24 * 3600
"""A download that was interrupted is gone on with for so long; `phi4local rm --partial` clears it at once."""


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


def blobs_folder() -> Path:
    """Return the folder of the files themselves, each called after its SHA-256."""
    return models_folder() / "blobs"


def manifests_folder() -> Path:
    """Return the folder of the manifests, as Ollama lays them out."""
    return models_folder() / "manifests"


def view_folder() -> Path:
    """Return the folder where the files have their real names."""
    return models_folder() / "files"


def make_adapters_folder() -> Path:
    """Make and return the folder of the adapters that were converted from PEFT folders on the way.

    Raises:
        FileWriteError: the operating system refused.
    """
    folder = models_folder() / "adapters"
    _make(folder)
    return folder


def adapters() -> list[Path]:
    """Return the adapters that were converted from PEFT folders; missing ones are made again."""
    return sorted((models_folder() / "adapters").glob("*.gguf"))


def locks_folder() -> Path:
    """Return the folder of the locks between processes."""
    return models_folder() / "locks"


def unfinished_folder() -> Path:
    """Return the folder of what is not finished; each part is called after the lock that protects it."""
    return models_folder() / "unfinished"


def make_work_folder(lock: str) -> Path:
    """Make and return a folder for unfinished files, on the same disk as the blobs.

    Args:
        lock: name of the lock that the caller holds.

    Raises:
        FileWriteError: the operating system refused.
    """
    folder = unfinished_folder() / safe_path(lock)
    _make(folder)
    _sweep(folder.parent)
    return folder


def make_models_folder() -> Path:
    """Make the models folder if it is not there.

    Raises:
        FileWriteError: the operating system refused.
    """
    folder = models_folder()
    _make(folder)
    return folder


def _make(folder: Path) -> None:
    try:
        home().mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise FileWriteError(folder, problem, hint=HOME_HINT) from error


def _sweep(folder: Path) -> None:
    """Remove conversions that a killed process left; downloads stay, because they are gone on with."""
    oldest = time.time() - STALE_SECONDS
    for left in folder.glob("convert-*"):
        with contextlib.suppress(OSError):
            if max(path.stat().st_mtime for path in (left, *left.iterdir())) < oldest:
                shutil.rmtree(left)
