"""Which files of a folder are documents, always in the same order."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.assistant.retrieval.documents import Document, read_document
from phi4local.errors import DocumentError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILES = 5_000
"""Most files of one collection."""
TOTAL_CHARACTERS = 200_000_000
_LEFT_OUT = frozenset({"node_modules", "__pycache__", "venv", "site-packages"})
_NO_TEXT = frozenset(
    [
        ".7z",
        ".a",
        ".avi",
        ".bin",
        ".bmp",
        ".bz2",
        ".class",
        ".dll",
        ".dylib",
        ".exe",
        ".flac",
        ".gguf",
        ".gif",
        ".gz",
        ".ico",
        ".jar",
        ".jpeg",
        ".jpg",
        ".mo",
        ".mov",
        ".mp3",
        ".mp4",
        ".npy",
        ".npz",
        ".o",
        ".ogg",
        ".otf",
        ".parquet",
        ".png",
        ".pt",
        ".pyc",
        ".safetensors",
        ".so",
        ".sqlite",
        ".tar",
        ".tgz",
        ".tif",
        ".tiff",
        ".ttf",
        ".wav",
        ".webm",
        ".webp",
        ".whl",
        ".woff",
        ".woff2",
        ".xz",
        ".zip",
        ".zst",
    ]
)


@dataclass
class Reading:
    """Documents that were read, and one line for each file that was not or that has something to say."""

    documents: list[Document] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_documents(paths: Iterable[Path | str]) -> Reading:
    """Read files and folders; a file that cannot be read inside a folder is skipped and said.

    Hidden files and folders, `node_modules`, `__pycache__`, environments and binary files are left out, and
    links to folders are not followed. Example: `read_documents(["docs", "README.md"]).documents[0].name` is
    `'docs/adapters.md'`.

    Raises:
        DocumentError: a path that was given by itself cannot be read, or nothing was found.
        MissingExtraError: a PDF was given by itself and pypdf is not installed.
    """
    reading = Reading()
    seen: set[Path] = set()
    characters = 0
    given = [Path(path) for path in paths]
    for path, alone in _files(given):
        real = path.resolve()
        if real in seen:
            continue
        seen.add(real)
        if len(seen) > FILES or characters > TOTAL_CHARACTERS:
            reading.notes.append(f"only the first {len(seen) - 1:,} files were read")
            break
        try:
            document = read_document(path)
        except (DocumentError, MissingExtraError) as error:
            if alone:
                raise
            reading.skipped.append(f"skipped {error}")
            continue
        if document.note:
            reading.notes.append(f"`{document.name}`: {document.note}")
        characters += sum(len(line.text) for line in document.lines)
        reading.documents.append(document)
    if not reading.documents:
        where = str(given[0]) if given else "documents"
        raise DocumentError(
            where, "holds no document that could be read", hint=next(iter(reading.skipped), None)
        )
    return reading


def _files(paths: list[Path]) -> Iterator[tuple[Path, bool]]:
    for path in paths:
        if path.is_dir():
            for file in _walk(path):
                yield file, False
        else:
            yield path, True


def _walk(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _LEFT_OUT)
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() not in _NO_TEXT:
                path = Path(where, name)
                if path.is_file():
                    yield path
