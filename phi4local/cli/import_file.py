"""`phi4local import`: a GGUF file that is here already gets a name."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.progress import shown_progress


def import_file(
    file: Annotated[str, typer.Argument(help="GGUF file; of several parts, the first")],
    name: Annotated[
        str | None, typer.Option("--name", help="NAME or NAME:TAG", show_default="the file's")
    ] = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the file, so that it can be deleted; else it is linked")
    ] = False,
    json: options.Json = False,
) -> None:
    """Keep a GGUF file under a name, checked and without copying it.

    Example: phi4local import ~/Downloads/phi-4-Q4_K_M.gguf --name phi-4
    """
    from phi4local.runtime import take_in
    from phi4local.runtime.progress import Progress

    with shown_progress() as show:
        model = take_in.import_file(
            file,
            name,
            copy=copy,
            progress=lambda done, total: show(Progress("importing", done, total)),
        )
    if json:
        render.print_json(render.installed(model))
        return
    render.notice(f"{model.reference}, {render.size(model.size_bytes)}: ready")
    render.notice(f"talk to it with `phi4local chat {model.reference}`")
