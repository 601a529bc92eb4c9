"""A checkpoint on a server → a GGUF file here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local import convert
from phi4local.errors import ConversionError
from phi4local.runtime import resolve
from phi4local.runtime.fetch import fetch
from phi4local.runtime.progress import Progress
from phi4local.store import installed

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
        DownloadError, CheckpointError, FileWriteError: see `fetch` and `resolve.ensure_gguf`.
    """
    if plan.quantization is not None:
        raise ConversionError(
            f"`{plan.reference}` is a GGUF file already", hint="leave out `--convert`, or name a checkpoint"
        )
    folder = fetch(plan, progress=progress).path
    member = convert.recognise(folder)
    source = resolve.Source(
        name=plan.reference.member or plan.reference.name,
        checkpoint=folder,
        quantization=quantization,
        manifest=member,
    )
    resolve.ensure_gguf(source, progress=lambda done, total: progress(Progress("converting", done, total)))
    made = installed.find(fingerprint=convert.fingerprint(folder), quantization=quantization)
    if made is None:
        raise ConversionError(f"`{plan.reference}` was converted, and is gone again")
    return made
