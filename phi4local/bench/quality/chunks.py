"""The text in pieces of one context each; the second half of each piece is scored.

So every scored token has at least half a context before it. Source: `perplexity` in
tools/perplexity/perplexity.cpp of llama.cpp 0c1e57098.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from phi4local.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEWEST_CONTEXT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Chunks:
    """Pieces of a text. `tokens` has the shape `(chunks, context_tokens)`."""

    tokens: NDArray[np.int32]

    @classmethod
    def cut(cls, tokens: Sequence[int], context_tokens: int, limit: int | None = None) -> Chunks:
        """Cut a text; what is left at its end is not used.

        Args:
            tokens: the text, with the token that begins a text if the model has one.
            context_tokens: of each piece.
            limit: most pieces, from the start.

        Example: 1,100 tokens in contexts of 512 are 2 pieces, of which 2 * 255 tokens are scored.

        Raises:
            InvalidSettingError: shorter than two contexts, llama-perplexity's rule.
        """
        if len(tokens) < 2 * context_tokens:
            problem = f"has {len(tokens):,} tokens; two contexts of {context_tokens:,} need more"
            raise InvalidSettingError("text", problem, hint="take a longer text, or a smaller `--context`")
        count = len(tokens) // context_tokens
        count = min(count, limit) if limit else count
        used = np.array(tokens[: count * context_tokens], np.int32)
        return cls(used.reshape(count, context_tokens))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def context_tokens(self) -> int:
        """Tokens of a piece."""
        return int(self.tokens.shape[1])

    @property
    def first(self) -> int:
        """The first position whose prediction is scored. Example: 256 of 512."""
        return self.context_tokens // 2

    @property
    def scored(self) -> int:
        """Scored tokens of a piece. Example: 255 of 512, since the last position has no next token."""
        return self.context_tokens - 1 - self.first

    def limited(self, limit: int | None) -> Chunks:
        """Return the first `limit` pieces, or all."""
        return self if limit is None else Chunks(self.tokens[:limit])
