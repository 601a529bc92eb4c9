"""What goes wrong with what people ask, and with what they want of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors.base import FileFormatError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence


class InputFileError(FileFormatError):
    """A file that cannot be part of a prompt: it cannot be read, or is no text."""

    hint = "give a text file in UTF-8"


class TemplateError(FileFormatError):
    """A prompt template with something in it that means nothing."""

    hint = "docs/run.md has an example"


class UnknownTemplateError(Phi4LocalError):
    """A name that no prompt template has; names the nearest ones."""

    def __init__(self, name: str, near: Sequence[str], *, known: Sequence[str] = ()) -> None:
        if near:
            hint = f"did you mean {' or '.join(f'`{one}`' for one in near)}?"
        elif known:
            hint = f"known templates: {', '.join(known)}"
        else:
            hint = "there are none yet; `--save-template NAME` keeps one"
        super().__init__(f"no template is called `{name}`", hint=hint)
        self.name = name
        self.near = tuple(near)


class NothingToExtractError(Phi4LocalError):
    """An answer without the part that was asked for."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"the answer has no {wanted}",
            hint="leave `--extract` out to see it, or ask for one in the prompt",
        )
        self.wanted = wanted
