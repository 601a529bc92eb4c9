"""A repository as a folder on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.runtime.fetch import PullSettings, fetch, plan_pull

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from phi4local.runtime.progress import Progress


def snapshot(
    model: str,
    *,
    source: str | None = None,
    revision: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Path:
    """Return the folder of a repository's files, fetched as far as they are not here.

    Example: `snapshot("LLM-Research/phi-4")`, a folder with `config.json` and the safetensors files.

    Raises:
        UnknownModelError, InvalidReferenceError: no such name.
        DownloadError, NotEnoughDiskError, FileWriteError: see `fetch`.
    """
    tell = progress or (lambda _progress: None)
    name = f"{model}@{revision}" if revision else model
    pulled = fetch(plan_pull(name, PullSettings(source=source), progress=tell), progress=tell)
    return pulled.path if pulled.path.is_dir() else pulled.path.parent
