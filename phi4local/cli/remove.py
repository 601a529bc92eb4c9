"""`phi4local rm` and `phi4local prune`: make room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render

if TYPE_CHECKING:
    from phi4local.store.remove import Removed

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would go")]


def rm(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Names, as `list` shows them", autocompletion=options.complete_installed),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Remove what was not downloaded to its end")
    ] = False,
    json: options.Json = False,
) -> None:
    """Remove models from this machine.

    Files that another model needs stay, and so do those that other tools own.
    Example: phi4local rm phi-4:Q8_0
    """
    from phi4local.store import kept, remove

    if not models and not partial:
        raise typer.BadParameter("name a model, or add `--partial`")
    names = [kept.name_of(model) for model in models or ()]
    done = [remove.remove(name) for name in names]
    done += [remove.remove_partial()] if partial else []
    report(done, "removed", json=json)


def prune(
    dry_run: DryRun = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was used within the last hour")
    ] = False,
    json: options.Json = False,
) -> None:
    """Delete files in the store that no model needs.

    Left alone for an hour, because their model may be on its way. Example: phi4local prune --dry-run
    """
    from phi4local.store import remove

    grace_seconds = 0.0 if everything else remove.GRACE_SECONDS
    done = remove.prune(grace_seconds=grace_seconds, dry_run=dry_run)
    report([done], "would delete" if dry_run else "deleted", json=json)


def report(done: list[Removed], verb: str, *, json: bool) -> None:
    """Say what went away."""
    names = [name for one in done for name in one.names]
    freed_bytes = sum(one.freed_bytes for one in done)
    if json:
        render.print_json({"removed": names, "freed_bytes": freed_bytes})
        return
    for name in names:
        render.notice(f"{verb} {name}")
    render.notice(f"{render.size(freed_bytes)} free" if names else "nothing to remove")
