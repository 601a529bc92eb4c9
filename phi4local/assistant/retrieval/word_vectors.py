"""Vectors of texts from WordLlama: a table of tokens and a mean, 16 MB, no engine and no network.

The weights and the tokenizer come with the package `wordllama` (MIT), in the extra `documents`. Its files are
read here and its code is not imported: that would start logging to stderr for the whole program, and its
loader looks for the tokenizer on the network. The same numbers come out; a test compares.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TENSOR = "embedding.weight"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_TEXTS_AT_ONCE = 256
"""Texts whose ids are in memory together."""


class WordVectors:
    """Turns texts into vectors of 256 numbers: the mean of their tokens' vectors.

    Similar texts have similar vectors also where they share no word ("going live", "deployment"); the order
    of words counts for nothing. English only. Alone it finds less than BM25, beside it more than BM25 alone.

    Attributes:
        name: tells its vectors from those of other models.

    Example: `WordVectors.installed().embed(["one", "two"]).shape` is `(2, 256)`.
    """

    name = "wordllama l2_supercat 256"

    def __init__(self, table: NDArray[numpy.float32], tokenizer: Any) -> None:  # noqa: ANN401 - tokenizers
        self._table = table
        self._tokenizer = tokenizer

    @classmethod
    def installed(cls) -> Self | None:
        """Return what the extra `documents` brings; `None` where it is not installed, or has other files."""
        found = importlib.util.find_spec("wordllama")
        folders = found.submodule_search_locations if found else None
        if not folders:
            return None
        weights, tokenizer = (Path(folders[0], *name.split("/")) for name in (_WEIGHTS, _TOKENIZER))
        if not (weights.is_file() and tokenizer.is_file()):
            return None
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        reader = Tokenizer.from_file(str(tokenizer))
        reader.no_padding()
        reader.no_truncation()
        return cls(load_file(weights)[_TENSOR].astype(numpy.float32), reader)

    def embed(self, texts: Sequence[str]) -> NDArray[numpy.float32]:
        """Return vectors of shape `(texts, 256)`; that of a text without tokens is zero."""
        vectors = numpy.zeros((len(texts), self._table.shape[1]), dtype=numpy.float32)
        for first in range(0, len(texts), _TEXTS_AT_ONCE):
            group = [readable(text) for text in texts[first : first + _TEXTS_AT_ONCE]]
            for place, encoding in enumerate(self._tokenizer.encode_batch(group, add_special_tokens=False)):
                if encoding.ids:
                    vectors[first + place] = self._table[encoding.ids].mean(axis=0)
        return vectors


def readable(text: str) -> str:
    """Return a text that is UTF-8: half a surrogate pair is none."""
    return text if text.isascii() else text.encode(errors="replace").decode()
