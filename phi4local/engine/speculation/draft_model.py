"""A second, smaller model with the same vocabulary that writes guesses for the first one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.native.context import ContextShape, NativeContext, Piece
from phi4local.native.llama import NativeModel, close_all
from phi4local.offload import Placement
from phi4local.planning.plan import BATCH_TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from phi4local.settings import LoadSettings

PROMPT_TOKENS = 256
"""Tokens of a prompt that it reads between two steps of the first model."""
_READ_WITH_A_GUESS = 2
"""The last token, whose successor is asked for, and the last guess, which was not read when it was made."""
_SMOOTHING = 0.2
"""What the newest measurement counts in the average time of a guess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftFile:
    """What the engine has to know of the validated file of a draft model.

    Attributes:
        path: the GGUF file; its vocabulary is that of the model it guesses for.
        trained_context_tokens: the context of its header.
        layers: transformer blocks.
        pre_tokenizer: as in `ModelFile`; it never tokenizes text, but llama.cpp wants to know at load.
    """

    path: Path
    trained_context_tokens: int
    layers: int
    pre_tokenizer: str | None = None


class DraftModel:
    """Writes the likeliest next tokens of several texts, each in a stream of its own.

    Args:
        file: a validated file.
        settings: the resolved settings of the model that it guesses for: as many texts at a time, the same
            threads, and on the GPU when that one is.

    Attributes:
        vocabulary_tokens: of the draft model; the other vocabulary may be padded further.
        seconds_per_guess: what a guess costs, a running average; 0.0 before the first.

    Raises:
        ModelLoadError: llama.cpp refused the file.
        EngineError: there is no memory for its context.
    """

    def __init__(self, file: DraftFile, settings: LoadSettings) -> None:
        self.seconds_per_guess = 0.0
        texts = settings.parallel or 1
        on_gpu = (settings.gpu_layers or 0) > 0
        placement = Placement(gpu_layers=file.layers + 1 if on_gpu else 0)
        self._native = NativeModel(file.path, placement=placement, pre_tokenizer=file.pre_tokenizer)
        self.vocabulary_tokens = self._native.vocabulary_tokens
        try:
            self._context = NativeContext(
                self._native,
                ContextShape(
                    context_tokens=min(settings.context_tokens or 0, file.trained_context_tokens),
                    batch_tokens=BATCH_TOKENS,
                    threads=settings.threads or 1,
                    sequences=texts,
                    unified=False,
                ),
            )
        except BaseException:
            self._native.close()
            raise
        self.context_tokens = self._context.context_tokens
        self._free = list(range(texts))

    def join(self) -> Draft | None:
        """Take a text up, or return `None` when it has as many as it can."""
        return Draft(self, self._free.pop()) if self._free else None

    def leave(self, stream: int) -> None:
        """Forget a text."""
        self._context.forget_from(0, sequence=stream)
        self._free.append(stream)

    def forget(self, stream: int, place: int) -> None:
        """Drop what a text has from `place` on."""
        self._context.forget_from(place, sequence=stream)

    def read(self, stream: int, place: int, tokens: Sequence[int]) -> int:
        """Evaluate tokens of a text and return the one that is likeliest after them.

        Raises:
            EngineError: llama.cpp returned an error.
        """
        import numpy as np  # the engine starts without it

        (row,) = self._context.decode_batch([Piece(stream, place, tokens, 1)])
        self._context.wait()
        logits = np.ctypeslib.as_array(self._context.logits(row), shape=(self.vocabulary_tokens,))
        return int(logits.argmax())

    def note_seconds(self, seconds: float, guesses: int) -> None:
        """Take the time that some guesses took."""
        each = seconds / guesses
        before = self.seconds_per_guess or each
        self.seconds_per_guess = before + _SMOOTHING * (each - before)

    def close(self) -> None:
        """Free the context and the model."""
        close_all(self._context, self._native)


class Draft:
    """One text of a draft model: what it has read of it, and what it expects next.

    Args:
        model: who writes.
        stream: of its context.
    """

    def __init__(self, model: DraftModel, stream: int) -> None:
        self.model = model
        self._stream = stream
        self._read: list[int] = []
        self._sure = 0
        """So many of the tokens read are known to stand in the text; behind them are guesses."""

    def catch_up(self, tokens: Sequence[int], room: int) -> bool:
        """Read what is new in the text but its last token, a piece at a time; return whether that was all.

        Args:
            tokens: the whole text so far.
            room: tokens that shall be guessed after it.

        Raises:
            EngineError: llama.cpp returned an error.
        """
        if len(tokens) + room > self.model.context_tokens:
            return False
        agreed = self._sure
        while agreed < min(len(self._read), len(tokens) - 1) and self._read[agreed] == tokens[agreed]:
            agreed += 1
        if agreed < len(self._read):
            self.model.forget(self._stream, agreed)
            del self._read[agreed:]
        missing = tokens[agreed : min(len(tokens) - 1, agreed + PROMPT_TOKENS)]
        if len(missing) > 1:  # a single one is read together with the last token
            self.model.read(self._stream, agreed, missing)
            self._read += missing
        self._sure = len(self._read)
        return len(tokens) - self._sure <= _READ_WITH_A_GUESS

    def guess(self, tokens: Sequence[int], count: int, *, vocabulary_tokens: int) -> list[int]:
        """Return up to `count` tokens that are likely to follow; `catch_up` has just returned true.

        Args:
            tokens: the whole text so far.
            count: how many guesses are wanted, at least 1.
            vocabulary_tokens: of the model that checks them; a guess beyond it ends the guesses.

        Raises:
            EngineError: llama.cpp returned an error.
        """
        started, guesses = time.perf_counter(), []
        piece = list(tokens[self._sure :])
        for _ in range(count):
            guess = self.model.read(self._stream, len(self._read), piece)
            self._read += piece
            if guess >= vocabulary_tokens:
                break
            guesses.append(guess)
            piece = [guess]
        self._sure = len(tokens)
        self.model.note_seconds(time.perf_counter() - started, max(1, len(guesses)))
        return guesses

    def start_again(self) -> None:
        """Forget the text: tokens were taken out of it."""
        self.model.forget(self._stream, 0)
        self._read, self._sure = [], 0

    def close(self) -> None:
        """Give the stream back."""
        self.model.leave(self._stream)
