"""`phi4local sessions`: look through kept conversations, take them elsewhere, delete them."""

from __future__ import annotations

import dataclasses
import enum
import sys
from json import dumps
from pathlib import Path  # noqa: TC003 - Typer reads it
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from phi4local.cli import options, render
from phi4local.cli.text import json_visible

if TYPE_CHECKING:
    from phi4local.assistant.sessions.library import SessionLibrary
    from phi4local.assistant.sessions.transcript import Transcript

app = typer.Typer(
    name="sessions",
    help="Look through kept conversations: list, show, search, export and delete them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _complete_name(incomplete: str) -> list[str]:
    from phi4local.assistant.sessions.folder import paths, sessions_folder

    return [path.stem for path in paths(sessions_folder()) if path.stem.startswith(incomplete)]


class ExportFormat(enum.StrEnum):
    """What `export` writes."""

    MD = "md"
    JSON = "json"
    HTML = "html"


Name = Annotated[
    str,
    typer.Argument(
        help="Name or id, as `sessions list` shows it", autocompletion=_complete_name, show_default=False
    ),
]


@app.command("list")
def list_sessions(json: options.Json = False) -> None:
    """List kept conversations, the last one first.

    Example: phi4local sessions list --json
    """
    kept = _library().list()
    if json:
        _print_json([dataclasses.asdict(summary) for summary in kept])
        return
    rows = [
        (one.name, _time(one.changed), f"{one.turns:,}", one.model or "", one.first_words) for one in kept
    ]
    if rows:
        columns = ("NAME", "CHANGED (UTC)", "TURNS", "MODEL", "FIRST WORDS")
        render.table("Sessions", columns, rows, right=("TURNS",))
    else:
        render.notice("nothing was kept yet: `phi4local chat` keeps its conversations here")


@app.command("show")
def show(name: Name, json: options.Json = False) -> None:
    """Print a conversation.

    Example: phi4local sessions show trip
    """
    _print(_read(name), "json" if json else "md")


@app.command("search")
def search(
    text: Annotated[str, typer.Argument(help="Words that a message must hold", show_default=False)],
    json: options.Json = False,
) -> None:
    """Find messages that hold all these words.

    Example: phi4local sessions search "warm may"
    """
    hits = _library().search(text)
    if json:
        _print_json([dataclasses.asdict(hit) for hit in hits])
        return
    for hit in hits:
        render.write(f"{hit.session}, turn {hit.turn}: {hit.excerpt}")
    if not hits:
        render.notice("nothing was found")


@app.command("export")
def export(
    name: Name,
    to: Annotated[ExportFormat, typer.Option("--to", help="What is written")] = ExportFormat.MD,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File; standard output without it")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file")] = False,
) -> None:
    """Write a conversation as Markdown, JSON or a page of HTML.

    Example: phi4local sessions export trip --to html -o trip.html
    """
    transcript = _read(name)
    if output is None:
        _print(transcript, to.value)
        return
    from phi4local.assistant.sessions.export import EXPORTS
    from phi4local.files import new_file

    with new_file(output, overwrite=force) as file:
        file.write(EXPORTS[to.value](transcript).encode())
    render.notice(f"wrote {output}")


@app.command("rm")
def rm(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Names or ids, as `sessions list` shows them",
            autocompletion=_complete_name,
            show_default=False,
        ),
    ],
) -> None:
    """Delete conversations.

    Example: phi4local sessions rm trip
    """
    library = _library()
    for name in names:
        render.notice(f"removed {library.remove(name)}")


def _library() -> SessionLibrary:
    from phi4local.assistant.sessions.library import SessionLibrary

    return SessionLibrary(report=render.notice)


def _read(name: str) -> Transcript:
    transcript = _library().read(name)
    for problem in transcript.skipped:
        render.notice(f"{transcript.name}: {problem}")
    return transcript


def _print(transcript: Transcript, to: Literal["md", "json", "html"]) -> None:
    from phi4local.assistant.sessions.export import EXPORTS, facts

    if to == "json":
        _print_json(facts(transcript))
    else:
        render.write(EXPORTS[to](transcript).removesuffix("\n"))


def _print_json(value: Any) -> None:  # noqa: ANN401 - JSON
    sys.stdout.write(json_visible(dumps(value, indent=2, ensure_ascii=False)) + "\n")


def _time(text: str) -> str:
    """Return a time as a table shows it. Example: `2026-01-31T12:00:00Z` → `2026-01-31 12:00`."""
    return text[:16].replace("T", " ")
