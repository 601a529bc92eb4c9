"""The text of a PDF, read in a process of its own: a file from somewhere may hang or crash its reader."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from phi4local.errors import DocumentError, MissingExtraError

SECONDS = 60.0
"""Longest time for one file."""
PAGES = 3_000
CHARACTERS = 16_000_000
MEMORY_BYTES = 2_000_000_000
_PROGRAM = Path(__file__).with_name("pdf_program.py")


def pdf_pages(path: Path, *, seconds: float = SECONDS) -> list[str]:
    """Return the text of each page.

    Raises:
        DocumentError: it is encrypted, damaged, too large, or takes longer than `seconds`.
        MissingExtraError: pypdf is not installed.
    """
    if importlib.util.find_spec("pypdf") is None:
        raise MissingExtraError("documents", "pypdf", "reads PDF files")
    limits = (PAGES, CHARACTERS, MEMORY_BYTES, int(seconds) + 1)
    command = [sys.executable, "-I", str(_PROGRAM), str(path.absolute()), *map(str, limits)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)  # noqa: S603
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise DocumentError(path, f"takes longer than {seconds:.0f} seconds to read") from None
    except OSError as error:
        raise DocumentError(path, f"no process to read it could be started: {error.strerror}") from None
    except ValueError:
        raise DocumentError(path, "is a damaged PDF", hint="print it into a new PDF and try that") from None
    if "problem" in answer:
        raise DocumentError(path, answer["problem"], hint=answer.get("hint"))
    return list(answer["pages"])
