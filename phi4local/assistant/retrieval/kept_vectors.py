"""Vectors that took long to make are kept, and found again by what was embedded."""

from __future__ import annotations

import contextlib
import hashlib
import time
from typing import TYPE_CHECKING

import numpy

from phi4local.errors import Phi4LocalError
from phi4local.files import new_file
from phi4local.store.home import home

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from phi4local.assistant.retrieval.search import Embedder

WORTH_KEEPING_SECONDS = 2.0
MOST_FILES = 8
"""The newest stay: a folder of documents that changes leaves a file each time."""


class KeptVectors:
    """An embedder that keeps what took it long, in `PHI4LOCAL_HOME/vectors`.

    A file is called after the SHA-256 of the model's name and the texts, so that it is never of other texts.

    Args:
        embedder: makes the vectors.
        name: of the embedder.
        seconds: what takes at least so long is kept.

    Example: `Collection(documents, embedder=KeptVectors(vectors, "wordllama"))` is slow once.
    """

    def __init__(self, embedder: Embedder, name: str, *, seconds: float = WORTH_KEEPING_SECONDS) -> None:
        self._embedder = embedder
        self._name = name
        self._seconds = seconds

    def embed(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """Return vectors of shape `(texts, width)`; a question by itself is neither looked up nor kept."""
        if len(texts) < 2:
            return self._embedder.embed(texts)
        path = home() / "vectors" / f"{self._digest(texts)}.npy"
        kept = _read(path, len(texts))
        if kept is not None:
            return kept
        start = time.monotonic()
        vectors = self._embedder.embed(texts)
        if time.monotonic() - start >= self._seconds:
            with contextlib.suppress(OSError, Phi4LocalError):  # a full disk costs time, no answer
                _write(path, vectors)
        return vectors

    def _digest(self, texts: Sequence[str]) -> str:
        digest = hashlib.sha256(self._name.encode())
        for text in texts:
            data = text.encode(errors="surrogatepass")
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.hexdigest()[:40]


def _read(path: Path, rows: int) -> NDArray[numpy.float32] | None:
    try:
        vectors: NDArray[numpy.float32] = numpy.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    good = vectors.dtype == numpy.float32 and vectors.ndim == 2 and len(vectors) == rows
    return vectors if good and bool(numpy.isfinite(vectors).all()) else None


def _write(path: Path, vectors: NDArray[numpy.float32]) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with new_file(path, overwrite=True) as file:
        numpy.save(file, vectors, allow_pickle=False)
    newest = sorted(path.parent.glob("*.npy"), key=lambda one: one.stat().st_mtime, reverse=True)
    for old in newest[MOST_FILES:]:
        old.unlink(missing_ok=True)
