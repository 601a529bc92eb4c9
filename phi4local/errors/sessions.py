"""What goes wrong with conversations that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors.base import FileFormatError, Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence


class SessionError(FileFormatError):
    """A kept conversation that cannot be read, or not be gone on with."""

    hint = "`phi4local sessions list` shows the others; without `--session`, a new one begins"


class SessionBusyError(Phi4LocalError):
    """A kept conversation that another process is writing to."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the session `{name}` is open in another window",
            hint="begin another one with `--session NAME`, or go on in that window; `/fork` there copies it",
        )
        self.name = name


class UnknownSessionError(Phi4LocalError):
    """A name that no kept conversation has, or an id that several have."""

    def __init__(self, name: str, problem: str, near: Sequence[str] = ()) -> None:
        names = " or ".join(f"`{other}`" for other in near)
        super().__init__(
            f"no session `{name}`: {problem}",
            hint=f"there is {names}" if near else "`phi4local sessions list` shows what was kept",
        )
        self.name, self.near = name, tuple(near)


class TextTooLongError(Phi4LocalError):
    """A text that is too long to be written down."""

    def __init__(self, size_bytes: int, most_bytes: int) -> None:
        super().__init__(
            f"the text takes {size_bytes:,} bytes, and {most_bytes:,} are the most that is kept at once",
            hint="make it shorter, or say it in parts",
        )
        self.size_bytes, self.most_bytes = size_bytes, most_bytes
