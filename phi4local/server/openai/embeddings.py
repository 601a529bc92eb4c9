"""`/v1/embeddings`: texts → vectors."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from phi4local.errors import UnsupportedFieldError
from phi4local.server.openai.strict import Inputs, each_input
from phi4local.server.strict import Strict

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from phi4local.runtime.vocabulary import KnowsTokens

MOST_TEXTS = 2048
"""OpenAI's limit."""


class EmbeddingRequest(Strict):
    """A request to `/v1/embeddings`."""

    without_effect: ClassVar[tuple[str, ...]] = ("user",)

    model: str
    input: Inputs
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None

    def texts(self, tokens: KnowsTokens) -> list[str]:
        """Return the texts; token ids are turned back into them.

        Raises:
            UnsupportedFieldError: an empty text, or too many.
            InvalidSettingError: an id that the vocabulary does not have.
        """
        parts = each_input(self.input)
        if len(parts) > MOST_TEXTS:
            raise UnsupportedFieldError("input", f"has {len(parts):,} texts; {MOST_TEXTS:,} are the most")
        found = [part if isinstance(part, str) else tokens.text_of(part) for part in parts]
        for number, text in enumerate(found):
            if not text:
                raise UnsupportedFieldError(f"input[{number}]" if len(found) > 1 else "input", "is empty")
        return found

    def require_width(self, width: int) -> None:
        """Refuse vectors of another length than the model's.

        Raises:
            UnsupportedFieldError: `dimensions` is something else.
        """
        if self.dimensions not in (None, width):
            raise UnsupportedFieldError("dimensions", f"is {self.dimensions}; this model has {width:,}")


def embeddings_body(
    wanted: EmbeddingRequest, vectors: NDArray[numpy.float32], prompt_tokens: int
) -> dict[str, Any]:
    """Return the body of the answer; vectors of shape `(texts, width)`."""
    as_base64 = wanted.encoding_format == "base64"
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
            if as_base64
            else row.tolist(),
        }
        for number, row in enumerate(vectors)
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return {"object": "list", "data": data, "model": wanted.model, "usage": usage}
