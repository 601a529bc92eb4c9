"""`phi4local pull`: bring a model to this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4local.cli import options, render


def pull(
    model: Annotated[
        str, typer.Argument(help="NAME or NAME:QUANTIZATION", autocompletion=options.complete_model)
    ],
    json: options.Json = False,
) -> None:
    """Download a model from Hugging Face and check it.

    The file is kept under its name only when its SHA-256 is right. Example: phi4local pull phi-4
    """
    from phi4local.runtime import fetch
    from phi4local.runtime.open import Progress

    with render.progress_bar() as show:
        pulled = fetch.pull(model, progress=lambda done, total: show(Progress("pulling", done, total)))
    if json:
        render.print_json(
            {
                "name": pulled.name,
                "quantization": pulled.quantization,
                "source": pulled.source,
                "sha256": pulled.fingerprint,
                "path": str(pulled.path),
                "size_bytes": pulled.size_bytes,
            }
        )
        return
    render.notice(f"{pulled.name} {pulled.quantization}, {render.size(pulled.size_bytes)}: ready")
    render.notice(f"talk to it with `phi4local chat {pulled.name}`")
