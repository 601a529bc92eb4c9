"""Standard streams that fail like everything else here: with one line, or not at all."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

from phi4local.errors import FileWriteError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Output(io.TextIOWrapper):
    """Standard output that ends the program when nobody reads it, and names the trouble when a disk is full.

    Raises:
        SystemExit: the reader has enough, as with `| head -1`: code 0.
        FileWriteError: any other failure.
    """

    def write(self, text: str) -> int:
        """Write `text` as `io.TextIOWrapper` does."""
        with _translated():
            return super().write(text)

    def flush(self) -> None:
        """Flush as `io.TextIOWrapper` does."""
        with _translated():
            super().flush()


def prepare_streams() -> None:
    """Make all three streams usable: UTF-8 in pipes and files, the terminal's own encoding on a terminal.

    A stream that the parent closed is replaced by nothing, so that a command can still do its work.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            # Kept open until the process ends.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            encoding = stream.encoding if stream.isatty() else "utf-8"
            stream.reconfigure(encoding=encoding, errors="replace")
    if type(sys.stdout) is io.TextIOWrapper:
        lines, encoding = sys.stdout.line_buffering, sys.stdout.encoding
        sys.stdout = Output(sys.stdout.detach(), encoding=encoding, errors="replace", line_buffering=lines)
        # `shutil.get_terminal_size` asks this one; the stream that is detached would make it say 80.
        sys.__stdout__ = sys.stdout  # type: ignore[misc]


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        _write_to_nothing()
        raise SystemExit(0) from error
    except OSError as error:
        _write_to_nothing()
        problem = (error.strerror or str(error)).lower()
        raise FileWriteError("standard output", problem, hint="look where the output goes") from error


def _write_to_nothing() -> None:
    """Let what is still buffered go nowhere: the interpreter flushes once more at its end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(nothing, 1)
    os.close(nothing)
