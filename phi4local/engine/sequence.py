"""One request in work: its tokens, its text, its clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from phi4local.engine.events import Finished, FinishReason, Text, Timings, Usage
from phi4local.engine.sampling import TokenChooser
from phi4local.engine.text import TextStream
from phi4local.errors import ContextTooLongError, InvalidSettingError
from phi4local.settings import DEFAULT_SAMPLING

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.engine.events import Event, Request, TokenLogprob
    from phi4local.engine.model import LoadedModel

EMIT_SECONDS = 0.008
"""Tokens that follow faster than this share one event: nobody reads faster, and events cost time."""


class Sequence:
    """The state of one request between two steps.

    Args:
        model: the model it runs on.
        request: what was asked.
        emit: takes the events.

    Raises:
        ContextTooLongError: the prompt leaves no room for an answer.
    """

    def __init__(self, model: LoadedModel, request: Request, emit: Callable[[Event], None]) -> None:
        self._model = model
        self._emit = emit
        self.prompt = model.tokenize(request.segments)
        room = model.context_tokens - len(self.prompt)
        if not self.prompt:
            raise InvalidSettingError("prompt", "is empty", hint="say something to the model")
        if room < 1:
            raise ContextTooLongError(
                prompt_tokens=len(self.prompt),
                context_tokens=model.context_tokens,
                trained_context_tokens=model.trained_context_tokens,
            )
        self._ignore_end = request.ignore_end
        self._max_tokens = min(room, request.max_tokens or room)
        sampling = request.sampling.filled_from(DEFAULT_SAMPLING)
        self._text = TextStream(sampling.stop or ())
        self._chooser = TokenChooser(model.native, sampling, self.prompt)
        # A seed promises the same answer again. Sums of floats depend on how a prompt is cut into steps,
        # so a seeded prompt is evaluated whole and in steps of one size.
        self.repeatable = sampling.seed is not None
        self.generated: list[int] = []
        self.reused_tokens = 0
        self._pending_text: list[str] = []
        self._pending_ids: list[int] = []
        self._pending_logprobs: list[TokenLogprob] = []
        self._started = self._first = self._last = self._emitted = time.perf_counter()

    def take_token(self) -> FinishReason | None:
        """Sample the next token from the newest logits; return why the answer ends, if it does.

        Raises:
            NonFiniteLogitsError: the chosen token's logit is NaN or infinite.
        """
        choice = self._chooser.choose(self._model.context)
        token = choice.token
        self._last = now = time.perf_counter()
        if not self.generated:
            self._first = now
        self.generated.append(token)
        self._pending_ids.append(token)
        if choice.logprob is not None:
            self._pending_logprobs.append(choice.logprob)
        piece = self._model.piece(token)
        if piece is None and not self._ignore_end:
            return "stop"
        self._pending_text.append(self._text.feed(piece or b""))
        if self._text.stopped:
            return "stop"
        if len(self.generated) >= self._max_tokens:
            return "length"
        if now - self._emitted >= EMIT_SECONDS or len(self.generated) == 1:
            self._flush()
        return None

    def finish(self, reason: FinishReason) -> None:
        """Emit the rest of the text and `Finished`, and free the sampler."""
        self._pending_text.append(self._text.finish())
        self._flush()
        self.close()
        usage = Usage(
            prompt_tokens=len(self.prompt),
            reused_tokens=self.reused_tokens,
            generated_tokens=len(self.generated),
        )
        timings = Timings(
            prompt_seconds=self._first - self._started, generation_seconds=self._last - self._first
        )
        self._emit(Finished(reason=reason, usage=usage, timings=timings))

    def close(self) -> None:
        """Free the samplers."""
        self._chooser.close()

    def _flush(self) -> None:
        if self._pending_ids:
            logprobs = tuple(self._pending_logprobs) or None
            self._emit(Text("".join(self._pending_text), tuple(self._pending_ids), logprobs))
            self._pending_text.clear()
            self._pending_ids.clear()
            self._pending_logprobs.clear()
        self._emitted = self._last
