"""A model that reads chunks of text and hands out logits, one block at a time. Runs in the child process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from phi4local.engine.model import resolve
from phi4local.native import llama
from phi4local.native.context import ContextShape, NativeContext, Piece
from phi4local.planning.plan import BATCH_TOKENS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from phi4local.engine.model import ModelFile
    from phi4local.settings import LoadSettings

WRITTEN_TOKENS = 32
"""Single-token steps that the writing speed is measured with."""
_SHORT_PROMPT_TOKENS = 8


class Reader:
    """A model with a context for one chunk.

    A decode has at most 512 tokens, of which those in the scored half have logits: with 100,352 tokens in the
    vocabulary never more than 205 MB.

    Args:
        file: a validated file.
        settings: with the context's tokens.
        progress: called with the loaded share.

    Attributes:
        settings: as they were used, without unset fields.
        native: the model.
        seconds: spent reading so far.
        load_seconds: until the model was ready.

    Raises:
        ModelLoadError, EngineError: llama.cpp refused.
    """

    def __init__(
        self, file: ModelFile, settings: LoadSettings, progress: Callable[[float], bool] | None = None
    ) -> None:
        started = time.perf_counter()
        self.settings = settings = resolve(settings, file)
        self.native = llama.NativeModel(
            file.path,
            placement=settings.placement(),
            pre_tokenizer=file.pre_tokenizer,
            progress=progress,
        )
        self._opening = self.native.opening_token()
        context_tokens = settings.context_tokens or 0
        self._context = NativeContext(
            self.native,
            ContextShape(
                context_tokens=context_tokens,
                batch_tokens=BATCH_TOKENS,
                threads=settings.threads or 1,
                kv_type=settings.kv_type or "f16",
                flash_attention=settings.flash_attention,
                kv_offload=settings.kv_offload is not False,
                most_logits=min(BATCH_TOKENS, context_tokens),
            ),
        )
        self.seconds = 0.0
        self.load_seconds = time.perf_counter() - started

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of a text, after the one that begins a text if the model has one."""
        opening = [] if self._opening is None else [self._opening]
        return opening + self.native.tokenize(text, special=False)

    def blocks(self, tokens: NDArray[np.int32], first: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Read a chunk from its beginning; yield a position and the logits from there on.

        Args:
            tokens: the chunk, `(context_tokens,)`. Its first token is read as the one that begins a text.
            first: the first position whose logits are wanted; the last position's are not.

        Yields:
            `(position, logits)` with logits `(rows, vocab)`; they are gone with the next block.
        """
        ids = tokens.tolist()
        if self._opening is not None:
            ids[0] = self._opening
        self._context.forget_from(0)
        last = len(ids) - 1
        for start in range(0, len(ids), BATCH_TOKENS):
            end = min(start + BATCH_TOKENS, len(ids))
            wanted = range(max(start, first), min(end, last))
            started = time.perf_counter()
            logits = self._decode(ids, start, wanted, end)
            self.seconds += time.perf_counter() - started
            if logits is not None:
                yield wanted.start, logits

    def _decode(self, ids: list[int], start: int, wanted: range, end: int) -> NDArray[np.float32] | None:
        pieces = [Piece(0, place, ids[place : place + 1], True) for place in wanted]  # noqa: FBT003
        if start < (before := min(wanted.start, end)):
            pieces.insert(0, Piece(0, start, ids[start:before], False))  # noqa: FBT003
        if len(wanted) and wanted.stop < end:
            pieces.append(Piece(0, wanted.stop, ids[wanted.stop : end], False))  # noqa: FBT003
        rows = self._context.decode_batch(pieces)
        if not wanted:
            return None
        # Rows of one sequence lie one after the other, so the first one's address is the whole block's.
        pointer = self._context.logits(rows[0] if start >= wanted.start else rows[1])
        return np.ctypeslib.as_array(pointer, (len(wanted), self.native.vocabulary_tokens))

    def writing_rate(self, tokens: NDArray[np.int32]) -> float:
        """Return tokens per second of single-token steps, after a short prompt."""
        ids = tokens.tolist()
        self._context.forget_from(0)
        self._context.decode(ids[:_SHORT_PROMPT_TOKENS], 0)
        self._context.logits()
        steps = min(WRITTEN_TOKENS, len(ids) - _SHORT_PROMPT_TOKENS)
        started = time.perf_counter()
        for place in range(_SHORT_PROMPT_TOKENS, _SHORT_PROMPT_TOKENS + steps):
            self._context.decode(ids[place : place + 1], place)
            self._context.logits()
        return steps / (time.perf_counter() - started)

    def close(self) -> None:
        """Free context and model."""
        llama.close_all(self._context, self.native)
