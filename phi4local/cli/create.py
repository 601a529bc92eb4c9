"""`phi4local create`: a model from a Modelfile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from phi4local.cli import options, render
from phi4local.cli.progress import shown_progress


def create(
    name: Annotated[str, typer.Argument(help="NAME or NAME:TAG of the new model")],
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="MODELFILE", help="The Modelfile; - for standard input")
    ] = "Modelfile",
    quantize: Annotated[
        str | None, typer.Option("--quantize", "-q", help="Q4_K_M, Q8_0, …: for a checkpoint in FROM")
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a model of your own: a system text, settings, first messages, an adapter.

    FROM takes a name, a GGUF file or a folder with a checkpoint. Example: phi4local create pip -f Modelfile
    """
    from phi4local.runtime import create
    from phi4local.runtime.progress import Progress

    text, folder = _read(file)
    with shown_progress() as show:
        model = create.create(
            name,
            text,
            folder,
            quantization=quantize,
            progress=lambda done, total: show(Progress("making", done, total)),
        )
    if json:
        render.print_json(render.installed(model))
        return
    if model.manifest.of_kind("template") and "TEMPLATE" in text.upper():
        render.notice("note: TEMPLATE is for Ollama; phi4local uses the chat template of the GGUF file")
    render.notice(f"{model.reference}: ready; talk to it with `phi4local chat {model.reference}`")


def _read(file: str) -> tuple[str, Path]:
    """Return a Modelfile's text, and the folder where its paths begin."""
    from phi4local.errors import FileFormatError
    from phi4local.store.modelfile import MOST_CHARACTERS

    if file == "-":
        return sys.stdin.read(MOST_CHARACTERS + 1), Path()
    path = Path(file).expanduser()
    try:
        with path.open(encoding="utf-8") as opened:
            return opened.read(MOST_CHARACTERS + 1), path.parent
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise FileFormatError(
            file, f"cannot be read: {problem.lower()}", hint="name the Modelfile with `-f`"
        ) from error
