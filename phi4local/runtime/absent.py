"""A name → what it stands for, pulled first when it is on a server only and the person agrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from phi4local.errors import FileFormatError, ModelNotInstalledError, UnknownModelError
from phi4local.runtime import names, resolve
from phi4local.runtime.fetch import PullPlan, PullSettings, fetch, plan_pull
from phi4local.store import installed
from phi4local.store.http import is_offline
from phi4local.store.sources.quantizations import label

if TYPE_CHECKING:
    from phi4local.runtime.progress import Progress
    from phi4local.runtime.resolve import Source
    from phi4local.store.installed import InstalledModel
    from phi4local.store.references import Reference

Consent = Callable[[PullPlan], None]
"""Is shown a plan before its first byte; returns to go on, raises to stop."""


def agree(_plan: PullPlan) -> None:
    """Consent to everything."""


def installed_as(reference: Reference) -> InstalledModel | None:
    """Return the model of the store that came from a reference, asking no server.

    Without a tag, it is the newest of the repository.
    """
    tag = reference.tag or (label(reference.file) if reference.file else "")
    name = reference.stored_as(tag or None)
    found = installed.named(str(name)) if tag else installed.named(name.without_tag)
    return found[0] if found else None


def find_or_pull(
    model: str, consent: Consent | None, progress: Callable[[Progress], None] = lambda _progress: None
) -> Source:
    """Return what `model` stands for, after pulling it when it is not on this machine.

    Args:
        model: any name that `resolve.find` or `names.remote_name` knows.
        consent: shown the plan; `None` pulls nothing and asks no server.
        progress: told while it is pulled.

    Example: `find_or_pull("hf.co/unsloth/phi-4-GGUF:Q4_K_M", agree).installed.path`.

    Raises:
        ModelNotInstalledError: it is on a server, and there is no `consent`.
        UnknownModelError, FileFormatError: nothing is called like this, here or elsewhere.
        DownloadError: it could not be pulled.
    """
    try:
        return resolve.find(model)
    except (ModelNotInstalledError, UnknownModelError, FileFormatError):
        reference = names.remote_name(model)
        if reference is None:
            raise
    here, get = installed_as(reference), f"phi4local pull {model}"
    if here is not None:
        return resolve.source_of(here)
    if is_offline():
        raise ModelNotInstalledError(model, hint=f"offline; once there is a connection, `{get}` gets it")
    if consent is None:
        raise ModelNotInstalledError(model, hint=f"`{get}` gets it; `--yes` behind this command does, too")
    plan = plan_pull(model, PullSettings(), progress=progress)
    consent(plan)
    return resolve.source_of(fetch(plan, progress=progress))
