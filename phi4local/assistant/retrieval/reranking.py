"""Put the best candidates of a search in order, by a slower model that reads them piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from phi4local.assistant.retrieval.passages import Passage
    from phi4local.assistant.retrieval.search import Embedder

    Floats = NDArray[numpy.float32]

CANDIDATES = 50
"""Passages that are put in order; BM25 and word vectors had 48 of 50 right ones among so many."""
PIECE_CHARACTERS = 700
"""About 175 tokens: sentence models were trained on short texts, and read no more than 256."""


class Reranker:
    """Scores passages by the piece that is nearest to the question.

    The vectors of pieces are kept in memory, so that a passage costs its time once.

    Args:
        embedder: a sentence model; the length of its vectors must be one.

    Example: `Collection(documents, reranker=Reranker(SentenceModel.open(folder)))`.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._vectors: dict[str, Floats] = {}

    def scores(self, question: str, passages: Sequence[Passage]) -> Floats:
        """Return the cosine of each passage's nearest piece, shape `(passages,)`."""
        pieces = [list(_pieces(passage)) for passage in passages]
        new = list(dict.fromkeys(text for texts in pieces for text in texts if text not in self._vectors))
        if new:
            self._vectors.update(zip(new, self._embedder.embed(new), strict=True))
        asked = self._embedder.embed([question])[0]
        nearest = [max(float(self._vectors[text] @ asked) for text in texts) for texts in pieces]
        return numpy.array(nearest, dtype=numpy.float32)


def _pieces(passage: Passage) -> Iterator[str]:
    """Yield the passage's lines in groups, each under the titles above them."""
    title = " > ".join(passage.headings)
    group = ""
    for line in passage.lines:
        if group and len(group) + len(line.text) > PIECE_CHARACTERS:
            yield f"{title}\n{group}"
            group = ""
        group += f"{line.text}\n"
    yield f"{title}\n{group}"
