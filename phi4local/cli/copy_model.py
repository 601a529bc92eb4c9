"""`phi4local cp`: a second name for a model."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4local.cli import options, render


def cp(
    source: Annotated[
        str, typer.Argument(help="A name, as `list` shows it", autocompletion=options.complete_installed)
    ],
    destination: Annotated[str, typer.Argument(help="The new name")],
) -> None:
    """Give a model a second name; no bytes are copied.

    Example: phi4local cp phi-4:Q4_K_M work
    """
    from phi4local.store import kept

    render.notice(f"{source} is also {kept.copy(source, destination)}")
