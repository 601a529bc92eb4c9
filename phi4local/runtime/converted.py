"""A checkpoint on a server → a GGUF file here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.errors import ConversionError
from phi4local.runtime import resolve
from phi4local.runtime.conversion import converted
from phi4local.runtime.fetch import fetch
from phi4local.runtime.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.runtime.pull_plan import PullPlan
    from phi4local.store.installed import InstalledModel


def pull_and_convert(
    plan: PullPlan, quantization: str, *, progress: Callable[[Progress], None] = lambda _progress: None
) -> InstalledModel:
    """Fetch a checkpoint and convert it; both are kept.

    Args:
        plan: of a checkpoint.
        quantization: such as `Q4_K_M`.
        progress: told while it is fetched, then while it is converted.

    Example: `pull_and_convert(plan_pull("microsoft/phi-4"), "Q4_K_M").path`.

    Raises:
        ConversionError: the repository has GGUF files instead of a checkpoint.
        DownloadError, CheckpointError, FileWriteError: see `fetch` and `conversion.converted`.
    """
    if plan.quantization is not None:
        raise ConversionError(
            f"`{plan.reference}` is a GGUF file already", hint="leave out `--convert`, or name a checkpoint"
        )
    folder = fetch(plan, progress=progress).path
    source = replace(resolve.find(str(folder)), quantization=quantization)
    return converted(source, lambda done, total: progress(Progress("converting", done, total)))
