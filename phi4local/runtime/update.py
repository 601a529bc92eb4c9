"""Pull again what changed on the servers since it was pulled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from phi4local.errors import DownloadError, Phi4LocalError
from phi4local.runtime.fetch import PullPlan, PullSettings, fetch, plan_pull
from phi4local.store import installed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from phi4local.runtime.progress import Progress
    from phi4local.store.installed import InstalledModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What became of one model: `state` is `up to date`, `updated`, or why it could not be looked up."""

    name: str
    state: str

    def to_mapping(self) -> dict[str, str]:
        """Return the facts as JSON values."""
        return {"name": self.name, "state": self.state}


def updates(settings: PullSettings, *, progress: Callable[[Progress], None]) -> Iterator[Update]:
    """Look at every model that was pulled, pull those that changed, and yield what became of each.

    A model that cannot be looked up does not stop the others.

    Raises:
        DownloadError: of several models, none could be looked up; the last one's.
    """
    failed: list[Phi4LocalError] = []
    pulled = [model for model in installed.installed() if model.manifest.origin.how == "pulled"]
    for model in pulled:
        name = str(model.reference)
        try:
            yield Update(name=name, state=_updated(model, settings, progress))
        except Phi4LocalError as error:
            failed.append(error)
            yield Update(name=name, state=str(error))
    if failed and len(failed) == len(pulled):
        raise DownloadError(f"none of {len(pulled)} models could be looked up: {failed[-1]}")


def _updated(model: InstalledModel, settings: PullSettings, progress: Callable[[Progress], None]) -> str:
    plan = replace(plan_pull(model.source, settings, progress=progress), name=model.reference)
    if _same(plan, model):
        return "up to date"
    fetch(plan, progress=progress)
    return "updated"


def _same(plan: PullPlan, model: InstalledModel) -> bool:
    """Return whether every file on the server is one that the model has; the commit alone says little."""
    here = model.manifest.digests()
    return all(file.sha256 in here if file.sha256 else False for file in plan.remote.files) or (
        plan.remote.revision is not None and plan.remote.revision == model.manifest.origin.revision
    )
