"""`phi4local show`: what a model is."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from phi4local.cli import options, render


def show(
    model: Annotated[
        str, typer.Argument(help="Name, GGUF file or folder", autocompletion=options.complete_model)
    ],
    json: options.Json = False,
) -> None:
    """Show a model's shape, types and chat template; nothing is loaded.

    A checkpoint folder is converted first, as `run` would do.

    Example: phi4local show phi4-nano
    """
    from phi4local.runtime.inspect import describe
    from phi4local.runtime.open import Progress

    with render.progress_bar() as progress:
        facts = describe(model, progress=lambda done, total: progress(Progress("converting", done, total)))
    if json:
        render.print_json(facts)
        return
    rows = [
        (name.removesuffix("_bytes").replace("_", " "), _cell(name, value)) for name, value in facts.items()
    ]
    render.table(str(facts["name"]), ("FACT", "VALUE"), rows)


def _cell(name: str, value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "-"
    if name.endswith("_bytes"):
        return f"{render.size(value)} ({value:,} bytes)"
    if isinstance(value, dict):
        return ", ".join(f"{number} {kind}" for kind, number in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
