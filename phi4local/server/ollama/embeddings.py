"""`/api/embed` and the older `/api/embeddings`: texts → vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.errors import UnsupportedFieldError
from phi4local.server.ollama.options import chosen
from phi4local.server.ollama.requests import Keeping

if TYPE_CHECKING:
    from phi4local.runtime.model import Model

MOST_TEXTS = 2048
SPARE_TOKENS = 8
"""Text that was cut can have a few tokens more than before the cut."""


class EmbedRequest(Keeping):
    """A request to `/api/embed`."""

    input: str | list[str]
    truncate: bool | None = None
    dimensions: int | None = None

    def texts(self) -> list[str]:
        """Return the texts; none for an empty one, which only loads the model.

        Raises:
            UnsupportedFieldError: too many, or an empty one among others.
        """
        texts = ([self.input] if self.input else []) if isinstance(self.input, str) else self.input
        if len(texts) > MOST_TEXTS:
            raise UnsupportedFieldError("input", f"has {len(texts):,} texts; {MOST_TEXTS:,} are the most")
        for number, text in enumerate(texts):
            if not text:
                raise UnsupportedFieldError(f"input[{number}]", "is empty")
        return texts

    def require_width(self, width: int) -> None:
        """Refuse vectors of another length than the model's.

        Raises:
            UnsupportedFieldError: `dimensions` is something else.
        """
        if self.dimensions not in (None, width):
            raise UnsupportedFieldError("dimensions", f"is {self.dimensions}; this model has {width:,}")

    def ignored(self) -> tuple[str, ...]:
        """Return the fields and options that were sent and have no effect: no option moves a vector."""
        chosen(self.options)
        return tuple(f"options.{name}" for name, value in (self.options or {}).items() if value is not None)


class EmbeddingsRequest(Keeping):
    """A request to `/api/embeddings`."""

    prompt: str = ""

    def as_embed(self) -> EmbedRequest:
        """Return the same request to the newer address."""
        return EmbedRequest(
            model=self.model, input=self.prompt, options=self.options, keep_alive=self.keep_alive
        )


def fitting(model: Model, text: str) -> str:
    """Return the beginning of a text that fits into the model's context."""
    ids = model.tokenize(text)
    room = model.context_tokens - SPARE_TOKENS
    return text if len(ids) <= room else model.text_of(ids[:room])
