"""`phi4local verify`: is everything still what it was?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.progress import shown_progress

if TYPE_CHECKING:
    from phi4local.store.verify import Verified


def verify(
    model: Annotated[
        str | None,
        typer.Argument(
            help="One model; everything without it",
            show_default=False,
            autocompletion=options.complete_installed,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Hash everything that is kept and compare it with what it should be.

    The exit code is 1 when something is wrong. Example: phi4local verify phi-4
    """
    from phi4local.errors import StoreError
    from phi4local.runtime.progress import Progress
    from phi4local.store import kept, verify
    from phi4local.store.home import models_folder

    only = kept.manifest_of(model) if model else None
    with shown_progress() as show:
        seen = verify.verify(only, progress=lambda done, total: show(Progress("verifying", done, total)))
    _show(seen, json=json)
    if seen.findings:
        raise StoreError(
            models_folder(),
            f"{len(seen.findings)} of {seen.files} files are damaged",
            hint="`phi4local rm` the models above and get them again; `phi4local prune` removes the rest",
        )


def _show(seen: Verified, *, json: bool) -> None:
    if json:
        findings = [
            {"path": str(finding.path), "problem": finding.problem, "models": list(finding.models)}
            for finding in seen.findings
        ]
        render.print_json({"files": seen.files, "bytes": seen.hashed_bytes, "findings": findings})
        return
    if seen.findings:
        rows = [
            (", ".join(finding.models) or "-", finding.problem, str(finding.path))
            for finding in seen.findings
        ]
        render.table("Damaged", ("MODEL", "PROBLEM", "FILE"), rows)
    else:
        render.notice(f"{seen.files} files, {render.size(seen.hashed_bytes)}: all as they should be")
