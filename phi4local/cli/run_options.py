"""Options that only `phi4local run` has: what goes in, what comes out, templates."""

from __future__ import annotations

from typing import Annotated

import typer

from phi4local.cli.run_output import EXTRACTABLE, THINKING

INPUT, OUTPUT, TEMPLATES = "Input", "Output", "Templates"


def complete_template(incomplete: str) -> list[str]:
    """Return the names that a shell offers for a template."""
    from phi4local.assistant import template_files

    return [name for name in template_files.names() if name.startswith(incomplete)]


Files = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="Text that follows the words, `-` for standard input; repeatable",
        rich_help_panel=INPUT,
    ),
]
Images = Annotated[list[str] | None, typer.Option("--image", metavar="FILE", hidden=True)]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write the answer there, once it is complete; replaces a file",
        rich_help_panel=OUTPUT,
    ),
]
Number = Annotated[
    int | None,
    typer.Option(
        "--number",
        "-N",
        metavar="N",
        min=1,
        max=256,
        help="Several answers, made together; with seeds SEED, SEED + 1, …",
        rich_help_panel=OUTPUT,
    ),
]
Extract = Annotated[
    str | None,
    typer.Option(
        "--extract",
        "-x",
        metavar="|".join(EXTRACTABLE),
        help="Only the first block of code of the answer, or its JSON",
        rich_help_panel=OUTPUT,
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw", help="On a terminal too: no markdown drawn, no line breaks", rich_help_panel=OUTPUT
    ),
]
Think = Annotated[
    str | None,
    typer.Option(
        "--think",
        metavar="|".join(THINKING),
        help="Thoughts of a reasoning model, on stderr; hidden in a pipe",
        rich_help_panel=OUTPUT,
    ),
]
Stats = Annotated[
    bool, typer.Option("--stats", help="Print tokens per second on stderr", rich_help_panel=OUTPUT)
]
Template = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="NAME|FILE",
        help="Fill in a saved prompt; its settings count where none is given",
        rich_help_panel=TEMPLATES,
        autocompletion=complete_template,
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="Text for $NAME in the template; repeatable",
        rich_help_panel=TEMPLATES,
    ),
]
SaveTemplate = Annotated[
    str | None,
    typer.Option(
        "--save-template",
        metavar="NAME",
        help="Keep prompt and settings as a template, and answer nothing",
        rich_help_panel=TEMPLATES,
    ),
]
