"""Find the passages that answer a question: BM25, and vectors if there is an embedding model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy

from phi4local.assistant.retrieval.folders import read_documents
from phi4local.assistant.retrieval.passages import SECTIONS, Passage, Size, passages_of
from phi4local.assistant.retrieval.reranking import CANDIDATES
from phi4local.assistant.retrieval.words import search_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Self

    from numpy.typing import NDArray

    from phi4local.assistant.retrieval.documents import Document
    from phi4local.assistant.retrieval.reranking import Reranker

K1 = 1.5
"""How soon more of the same word stops to count: the middle of the usual 1.2 to 2."""
B = 0.75
"""How much a passage's length counts: the usual value."""
FUSION = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
FUSED_RANKS = 100


class Embedder(Protocol):
    """A model whose `embed` gives one vector for each text, as `phi4local.load` returns it."""

    def embed(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """Return vectors of shape `(texts, width)`."""


class Collection:
    """Documents that can be searched.

    Args:
        documents: what was read.
        embedder: an embedding model; its ranking is joined with BM25's. Chat models are of no use here.
        reranker: puts the first fifty in order.
        notes: lines that a person should see: what was skipped, and why.
        length: how long its passages are.

    Example::

        collection = Collection.from_paths(["docs"])
        for passage in collection.search("How do I make an adapter smaller?"):
            print(passage.place, passage.score)
    """

    def __init__(
        self,
        documents: Iterable[Document],
        *,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
        notes: Iterable[str] = (),
        length: Size = SECTIONS,
    ) -> None:
        self.documents = tuple(documents)
        self.notes = tuple(notes)
        self.passages = tuple(
            passage for document in self.documents for passage in passages_of(document, length)
        )
        self._embedder = embedder
        self._reranker = reranker
        self._vectors = None if embedder is None else _unit(embedder.embed([_text(p) for p in self.passages]))
        self._words = [search_words(_text(passage)) for passage in self.passages]
        self._index = self._bm25()

    @classmethod
    def from_paths(
        cls,
        paths: Iterable[Path | str],
        *,
        embedder: Embedder | None = None,
        reranker: Reranker | None = None,
    ) -> Self:
        """Read files and folders; `notes` says what was skipped.

        Raises:
            DocumentError: a named file cannot be read, or there is nothing to read.
            MissingExtraError: a named PDF, and pypdf is not installed.
        """
        reading = read_documents(paths)
        notes = [*reading.notes, *reading.skipped]
        return cls(reading.documents, embedder=embedder, reranker=reranker, notes=notes)

    def search(self, question: str, count: int = 5) -> list[Passage]:
        """Return the best passages, best first, with scores; none that shares no word with it."""
        scores = self._scores(search_words(question))
        if self._embedder is not None and self._vectors is not None and self.passages:
            near = self._vectors @ _unit(self._embedder.embed([question]))[0]
            scores = _fused(scores, near)
        most = count if self._reranker is None else max(count, CANDIDATES)
        order = numpy.argsort(-scores, kind="stable")[:most]
        found = [
            replace(self.passages[index], score=float(scores[index])) for index in order if scores[index] > 0
        ]
        if self._reranker is None or not found:
            return found
        again = self._reranker.scores(question, found)
        order = numpy.argsort(-again, kind="stable")[:count]
        return [replace(found[index], score=float(again[index])) for index in order]

    def _bm25(self) -> Any:  # noqa: ANN401 - a bm25s.BM25, imported late
        if not any(self._words):
            return None
        import bm25s

        index = bm25s.BM25(k1=K1, b=B, method="lucene", auto_compile=False)
        index.index(self._words, show_progress=False)
        return index

    def _scores(self, words: list[str]) -> NDArray[numpy.float32]:
        nothing = numpy.zeros(len(self.passages), dtype=numpy.float32)
        if self._index is None:
            return nothing
        known = [word for word in words if word in self._index.vocab_dict]
        if not known:
            return nothing
        return numpy.asarray(self._index.get_scores(known), dtype=numpy.float32)


def _text(passage: Passage) -> str:
    """Return what a passage is found by: its file's name and the titles above it say what it is about."""
    return "\n".join([passage.name, *passage.headings, passage.text])


def _unit(vectors: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    unit: NDArray[numpy.float32] = vectors / numpy.maximum(
        numpy.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12
    )
    return unit


def _fused(*rankings: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """Join rankings by the places, not the values: each gives 1 / (60 + place) to its first hundred."""
    joined = numpy.zeros_like(rankings[0])
    for scores in rankings:
        order = numpy.argsort(-scores, kind="stable")[:FUSED_RANKS]
        order = order[scores[order] > 0]
        joined[order] += 1 / (FUSION + 1 + numpy.arange(len(order), dtype=numpy.float32))
    return joined
