"""Texts to vectors: the mean of the last hidden states, from a context beside the one that answers."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from phi4local.errors import ContextTooLongError, EngineError, InvalidSettingError, NonFiniteLogitsError
from phi4local.native.context import ContextShape, NativeContext, Piece
from phi4local.prompts import TextSegment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy
    from numpy.typing import NDArray

    from phi4local.engine.model import LoadedModel

SEQUENCES = 16
"""Texts that share a batch."""
BATCH_TOKENS = 128
"""llama.cpp keeps a row of logits for each token of such a batch: 51 MB with Phi-4's vocabulary."""
FIRST_BATCH_TOKENS = 32
STEP_SECONDS = 0.25
SMALLEST_CONTEXT = 512


class Embedder:
    """Vectors of texts, on the weights of a loaded model.

    The context is made when first needed and made again for a text that is longer than it. One thread at a
    time computes here; the thread that answers has a context of its own and goes on.

    Args:
        model: must stay open longer than this.

    Example: `Embedder(model).embed(["the sky is blue"])` has the shape `(1, 256)` with phi4-nano.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._context: NativeContext | None = None
        self._batch_tokens = FIRST_BATCH_TOKENS
        self._closed = False

    def embed(
        self, texts: Sequence[str], *, step: Callable[[int, int], None] = lambda _done, _all: None
    ) -> NDArray[numpy.float32]:
        """Return a vector of length 1 for each text, float32, shape `(texts, width)`.

        Args:
            texts: each is read from an empty context, without a template.
            step: called after each batch with evaluated and all tokens.

        Raises:
            InvalidSettingError: a text is empty, or is no text.
            ContextTooLongError: a text has more tokens than the model's context.
            NonFiniteLogitsError: the model computed NaN or infinity.
        """
        import numpy

        prompts = [self._tokenize(text, place) for place, text in enumerate(texts)]
        sums = numpy.zeros((len(prompts), self._model.native.width))
        done, total = 0, sum(map(len, prompts))
        with self._lock:
            context = self._context_for(max(map(len, prompts), default=0))
            for group in _groups([len(prompt) for prompt in prompts], context.context_tokens):
                for sequence in range(SEQUENCES):
                    context.forget_from(0, sequence=sequence)
                for count in self._evaluate(context, group, prompts, sums):
                    done += count
                    step(done, total)
        lengths = numpy.linalg.norm(sums, axis=1, keepdims=True)  # the mean has the direction of the sum
        if not (numpy.isfinite(lengths) & (lengths > 0)).all():
            raise NonFiniteLogitsError(0)
        vectors: NDArray[numpy.float32] = (sums / lengths).astype(numpy.float32)
        return vectors

    def close(self) -> None:
        """Free the context; close this before the model."""
        with self._lock:
            self._closed = True
            if self._context is not None:
                self._context.close()

    def _tokenize(self, text: str, place: int) -> list[int]:
        if not isinstance(text, str) or not text:
            problem = "is empty" if text == "" else f"is {type(text).__name__}, not text"
            raise InvalidSettingError(f"texts[{place}]", problem, hint="leave it out")
        tokens = self._model.tokenize((TextSegment(text, special=False),))
        if len(tokens) > self._model.context_tokens:
            raise ContextTooLongError(
                prompt_tokens=len(tokens),
                context_tokens=self._model.context_tokens,
                trained_context_tokens=self._model.trained_context_tokens,
            )
        return tokens

    def _context_for(self, tokens: int) -> NativeContext:
        """Return a context with at least `tokens` cells, a power of two."""
        if self._closed:
            raise EngineError("the model is closed", hint="load it again")
        if self._context is not None and self._context.context_tokens >= tokens:
            return self._context
        if self._context is not None:
            self._context.close()
            self._context = None
        settings = self._model.facts.settings
        self._context = NativeContext(
            self._model.native,
            ContextShape(
                context_tokens=max(SMALLEST_CONTEXT, 1 << (tokens - 1).bit_length()),
                batch_tokens=BATCH_TOKENS,
                threads=settings.threads or 1,
                kv_type=settings.kv_type or "f16",
                flash_attention=settings.flash_attention,
                sequences=SEQUENCES,
                kv_offload=settings.kv_offload is not False,
                embeddings=True,
            ),
        )
        return self._context

    def _evaluate(
        self,
        context: NativeContext,
        group: range,
        prompts: Sequence[Sequence[int]],
        sums: NDArray[numpy.float64],
    ) -> Iterator[int]:
        """Evaluate the prompts of a group, add their hidden states to `sums`, yield tokens of each batch."""
        import numpy

        waiting = [(place, 0) for place in group]
        while waiting:
            started = time.perf_counter()
            pieces, waiting = _next_batch(waiting, prompts, self._batch_tokens)
            context.decode_batch(
                [
                    Piece(place - group.start, start, prompts[place][start:end], rows=1)
                    for place, start, end in pieces
                ]
            )
            count = sum(end - start for _, start, end in pieces)
            rows: Any = numpy.ctypeslib.as_array(context.hidden_states(), (count, sums.shape[1]))
            row = 0
            for place, start, end in pieces:
                sums[place] += rows[row : row + end - start].sum(axis=0, dtype=numpy.float64)
                row += end - start
            if time.perf_counter() - started < STEP_SECONDS:
                self._batch_tokens = min(2 * self._batch_tokens, BATCH_TOKENS)
            yield count


def _groups(lengths: Sequence[int], cells: int) -> Iterator[range]:
    """Yield ranges of prompts that fit into the cells together, at most `SEQUENCES` each.

    Example: lengths 300, 200, 100 and 512 cells → `range(0, 2)`, `range(2, 3)`.
    """
    start, used = 0, 0
    for place, length in enumerate(lengths):
        if place - start == SEQUENCES or used + length > cells:
            yield range(start, place)
            start, used = place, 0
        used += length
    if start < len(lengths):
        yield range(start, len(lengths))


def _next_batch(
    waiting: list[tuple[int, int]], prompts: Sequence[Sequence[int]], room: int
) -> tuple[list[tuple[int, int, int]], list[tuple[int, int]]]:
    """Return the pieces of the next batch, as prompt, start and end, and what still waits.

    Example: two prompts of 20 tokens and room for 32 → (0, 0, 20), (1, 0, 12), and (1, 12) waits.
    """
    pieces, rest = [], []
    for place, start in waiting:
        end = min(start + room, len(prompts[place]))
        if end > start:
            pieces.append((place, start, end))
            room -= end - start
        if end < len(prompts[place]):
            rest.append((place, end))
    return pieces, rest
