"""What `phi4local run` asks: words, files and a pipe become one prompt."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import typer

from phi4local.cli.text import visible
from phi4local.cli.text_files import image_error, read_file, read_standard_input

if TYPE_CHECKING:
    from collections.abc import Sequence

PIPE = "-"
"""As the name of a file: standard input."""


def attached_text(files: Sequence[str]) -> str:
    """Return the files' texts in their order, then what a pipe brings unless `-` has taken it.

    Parts are separated by a blank line. Nothing else is added, such as the names of the files.

    Raises:
        InputFileError: a file that cannot be read, or is no text.
    """
    if files.count(PIPE) > 1:
        raise typer.BadParameter("standard input can be read once: give `--file -` once")
    parts = [read_standard_input() if name == PIPE else read_file(name) for name in files]
    if PIPE not in files and _something_is_piped():
        parts.append(read_standard_input())
    return "\n\n".join(part for part in (text.rstrip("\n") for text in parts) if part)


def split_words(words: Sequence[str], attached: str, *, needed: bool = True) -> tuple[str | None, str]:
    """Tell the model from the prompt.

    Two words or more: the first is the model. One word: the model when it names one and the prompt comes
    from files, a pipe or a template, else the prompt for the default model.

    Args:
        words: the arguments of the command.
        attached: the text of files and pipe; it follows the words.
        needed: whether there must be something to say.

    Example: `(["phi4-nano", "Hello"], "")` → `("phi4-nano", "Hello")`; `(["Hello"], "")` → `(None, "Hello")`.
    """
    name: str | None = None
    said = list(words)
    if len(said) > 1 or (said and (attached or not needed) and _names_a_model(said[0])):
        name = said.pop(0)
    elif said and _names_a_model(said[0]):
        shown = visible(said[0])
        raise typer.BadParameter(f"say something to {shown}, or use `phi4local chat {shown}`")
    prompt = "\n\n".join(part for part in (" ".join(said), attached) if part)
    if needed and not prompt.strip():
        raise typer.BadParameter('there is no prompt: add one, as in `phi4local run "Hello"`')
    return name, prompt


def parameter_values(given: Sequence[str] | None) -> dict[str, str]:
    """Return the values of `--param NAME=VALUE`. Example: `["words=50"]` → `{"words": "50"}`."""
    values = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(
                f"`--param {visible(text)}` must be NAME=VALUE, as in `--param words=50`"
            )
        values[name.strip()] = value
    return values


def refuse_images(images: Sequence[str] | None) -> None:
    """Refuse `--image`.

    Raises:
        InputFileError: there is one.
    """
    for image in images or ():
        raise image_error(image)


def _names_a_model(word: str) -> bool:
    from phi4local.runtime.resolve import names_a_model

    return names_a_model(word)


def _something_is_piped() -> bool:
    """Return whether standard input is a pipe or a file; a terminal or a device is never waited for."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
