"""`phi4local show`: what a model is."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from phi4local.cli import options, render
from phi4local.cli.consent import consent
from phi4local.cli.progress import shown_progress
from phi4local.cli.text import visible

PARTS = "Only this part"


def show(
    model: Annotated[
        str, typer.Argument(help="Name, GGUF file or folder", autocompletion=options.complete_model)
    ],
    modelfile: Annotated[
        bool, typer.Option("--modelfile", help="The Modelfile that makes it", rich_help_panel=PARTS)
    ] = False,
    template: Annotated[
        bool, typer.Option("--template", help="The chat template of the file", rich_help_panel=PARTS)
    ] = False,
    system: Annotated[bool, typer.Option("--system", help="The system text", rich_help_panel=PARTS)] = False,
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Settings that it brings along", rich_help_panel=PARTS)
    ] = False,
    license: Annotated[bool, typer.Option("--license", help="The licence", rich_help_panel=PARTS)] = False,  # noqa: A002
    yes: options.Yes = False,
    json: options.Json = False,
) -> None:
    """Show a model's shape, types, chat template and origin; nothing is loaded.

    A checkpoint folder is converted first, as `run` would do.

    Example: phi4local show phi4-nano
    """
    from phi4local.runtime.absent import find_or_pull
    from phi4local.runtime.inspect import describe, part_of
    from phi4local.runtime.progress import Progress

    chosen = {
        "modelfile": modelfile,
        "template": template,
        "system": system,
        "parameters": parameters,
        "license": license,
    }
    wanted = [name for name, is_wanted in chosen.items() if is_wanted]
    with shown_progress() as progress:
        find_or_pull(model, consent(progress, yes=yes), progress)
        said = lambda done, total: progress(Progress("converting", done, total))  # noqa: E731
        if wanted:
            texts = [part_of(model, part, progress=said) for part in wanted]
        else:
            facts = describe(model, progress=said)
    if wanted:
        sys.stdout.write(
            "".join(visible(text.rstrip("\n"), keep_lines=True) + "\n" for text in texts if text)
        )
    elif json:
        render.print_json(facts)
    else:
        render.table(str(facts["name"]), ("FACT", "VALUE"), fact_rows(facts))


def fact_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return facts of a model as rows of a table. Example: `{"size_bytes": 9e9}` → `[("size", "9 GB …")]`."""
    return [(_label(name), _cell(name, value)) for name, value in facts.items()]


def _label(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _cell(name: str, value: Any) -> str:  # noqa: ANN401
    if value is None:
        return "-"
    if name.endswith("_bytes"):
        return f"{render.size(value)} ({value:,} bytes)"
    if name == "tensor_types":
        return ", ".join(f"{number} {kind}" for kind, number in value.items())
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell('', entry)}" for key, entry in value.items()) or "-"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return f"{value:,}" if isinstance(value, int) else str(value)
