"""Usage errors of the command line, without what the words on it could do to a terminal."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

import typer
from typer.core import TyperGroup

from phi4local.cli.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

# What all of them are; newer typers have a click of their own, which has no public name.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__base__)


class Commands(TyperGroup):
    """The commands; a usage error quotes what was typed, which may have been pasted from anywhere."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Read the options before a command."""
        with _visible_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Find the command, read its options and run it."""
        with _visible_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def _visible_errors() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        error.message = visible(error.message)
        raise
