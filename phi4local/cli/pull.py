"""`phi4local pull`: bring a model to this machine."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from phi4local.cli import consent, options, render
from phi4local.cli.progress import shown_progress

if TYPE_CHECKING:
    from phi4local.runtime.fetch import PullPlan, PullSettings
    from phi4local.store.installed import InstalledModel


def pull(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Name, NAME:QUANTIZATION, link", show_default=False, autocompletion=options.complete_model
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="Where OWNER/NAME is: huggingface, modelscope or ollama"),
    ] = None,
    connections: Annotated[int, typer.Option("--connections", min=1, max=16, help="Streams at once")] = 4,
    convert: Annotated[
        str | None,
        typer.Option("--convert", metavar="QUANTIZATION", help="Make a GGUF of a safetensors checkpoint"),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Convert while it arrives; the checkpoint is not kept")
    ] = False,
    update_all: Annotated[
        bool, typer.Option("--update-all", help="Pull what changed on the servers")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the quantizations and stop")] = False,
    insecure: Annotated[bool, typer.Option("--insecure", help="Allow http to other machines")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Open no connection")] = False,
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Download a model, check it, and keep it under its name.

    Without a quantization it takes the one that suits this machine and says why. A download that was
    interrupted goes on where it was. Example: phi4local pull hf.co/unsloth/phi-4-GGUF:Q4_K_M
    """
    from phi4local.runtime.fetch import PullSettings

    if offline:
        os.environ["PHI4LOCAL_OFFLINE"] = "1"
    settings = PullSettings(
        source=source, connections=connections, insecure=insecure, checkpoint=convert is not None
    )
    if stream and convert is None:
        raise typer.BadParameter("`--stream` needs `--convert QUANTIZATION`")
    if update_all:
        _update_all(settings, json=json)
        return
    if not model:
        raise typer.BadParameter("there is no model: name one, as in `phi4local pull phi-4`")
    here = _here(model) if offline else None
    if here is not None:
        _report(here, json=json)
        return
    plan = _planned(model, settings)
    if dry_run:
        _show_plan(plan, json=json)
        return
    _ask_or_tell(plan, yes=yes)
    _report(_pulled(plan, convert, stream=stream), json=json)


def _here(model: str) -> InstalledModel | None:
    from phi4local.errors import Phi4LocalError
    from phi4local.runtime.absent import find_or_pull

    try:
        return find_or_pull(model, None).installed
    except Phi4LocalError:
        return None  # the plan says why


def _planned(model: str, settings: PullSettings) -> PullPlan:
    from phi4local.runtime.fetch import plan_pull

    with shown_progress() as progress:
        return plan_pull(model, settings, progress=progress)


def _show_plan(plan: PullPlan, *, json: bool) -> None:
    if json:
        render.print_json(plan.to_mapping())
        return
    if plan.choices:
        consent.show_table(plan, on_stderr=False)
    consent.tell(plan)


def _ask_or_tell(plan: PullPlan, *, yes: bool) -> None:
    """Ask a person about a choice that they did not make themselves; tell everybody else."""
    on_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    if plan.reason is not None and plan.missing_bytes and on_terminal and not yes:
        consent.ask(plan)
    else:
        consent.tell(plan)


def _pulled(plan: PullPlan, convert: str | None, *, stream: bool) -> InstalledModel:
    from phi4local.convert import quantization_named
    from phi4local.runtime.converted import pull_and_convert
    from phi4local.runtime.fetch import fetch
    from phi4local.runtime.streamed import stream_and_convert

    with shown_progress() as progress:
        if convert is None:
            return fetch(plan, progress=progress)
        make = stream_and_convert if stream else pull_and_convert
        return make(plan, quantization_named(convert), progress=progress)


def _report(pulled: InstalledModel, *, json: bool) -> None:
    if json:
        render.print_json(render.installed(pulled))
        return
    render.notice(f"{pulled.reference}, {render.size(pulled.size_bytes)}: ready")
    if pulled.kind == "gguf":
        render.notice(f"talk to it with `phi4local chat {pulled.reference}`")
    else:
        render.notice(str(pulled.path))


def _update_all(settings: PullSettings, *, json: bool) -> None:
    from phi4local.runtime.update import updates

    rows = []
    with shown_progress() as progress:
        for update in updates(settings, progress=progress):
            progress.pause()
            rows.append(update.to_mapping())
            if not json:
                render.notice(f"{update.name}: {update.state}")
    if json:
        render.print_json(rows)
    elif not rows:
        render.notice("nothing that was pulled is here")
