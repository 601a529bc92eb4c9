"""Options that make an answer follow a schema, an expression or a grammar."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from phi4local.errors import InvalidSettingError
from phi4local.settings import SamplingSettings

STRUCTURE = "Structure"

JsonSchema = Annotated[
    str | None,
    typer.Option(
        "--json-schema",
        metavar="FILE|JSON",
        help="Answer with JSON that follows a schema; {} for any JSON",
        rich_help_panel=STRUCTURE,
    ),
]
Regex = Annotated[
    str | None,
    typer.Option(
        "--regex",
        metavar="PATTERN",
        help="Answer with text that a regular expression matches",
        rich_help_panel=STRUCTURE,
    ),
]
Grammar = Annotated[
    str | None,
    typer.Option(
        "--grammar",
        metavar="FILE",
        help="Answer with text that a grammar (GBNF) allows",
        rich_help_panel=STRUCTURE,
    ),
]


def structure_settings(json_schema: str | None, regex: str | None, grammar: str | None) -> SamplingSettings:
    """Build the part of the sampling settings that constrains the answer; files are read here."""
    if json_schema is not None and not json_schema.lstrip().startswith("{"):
        json_schema = _text_of(json_schema, "json_schema")
    return SamplingSettings(
        json_schema=json_schema,
        regex=regex,
        grammar=None if grammar is None else _text_of(grammar, "grammar"),
    )


def _text_of(path: str, setting: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError, RuntimeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise InvalidSettingError(
            setting, f"is a file that cannot be read: {path}: {problem.lower()}", hint="name a text file"
        ) from error
