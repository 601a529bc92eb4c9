"""Messages so far, and the next answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.engine import Event, Finished, Text
from phi4local.messages import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.engine import Generation
    from phi4local.runtime.language_model import LanguageModel
    from phi4local.settings import SamplingSettings


class Conversation:
    """One person, one model, the turns between them.

    Args:
        model: who answers.
        system: an instruction that stands before everything.
        sampling: how tokens are chosen.
        max_tokens: longest answer.

    Example::

        conversation = Conversation(model)
        for event in conversation.ask("Why is the sky blue?"):
            ...
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        system: str | None = None,
        sampling: SamplingSettings | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self._model = model
        self._system = system
        self._sampling = sampling
        self._max_tokens = max_tokens
        self._running: Generation | None = None
        self._cancelled = False
        self.messages: list[Message] = []
        self._kept_ids: dict[int, tuple[int, ...]] = {}
        self.clear()

    def clear(self) -> None:
        """Forget everything but the system message."""
        self.messages = [Message("system", self._system)] if self._system else []
        self._kept_ids = {}

    def ask(self, text: str) -> Iterator[Event]:
        """Say something and yield the answer's events; the turn is kept when the answer ends.

        A cancelled answer is kept as far as it came; a turn without an answer is not. When the engine fails,
        the conversation is as it was before the question.
        """
        turn = [*self.messages, Message("user", text)]
        self._cancelled = False
        generation = self._model.chat(
            turn, sampling=self._sampling, max_tokens=self._max_tokens, kept_ids=self._kept_ids
        )
        self._running = generation
        if self._cancelled:
            generation.cancel()
        parts: list[str] = []
        ids: list[int] = []
        with generation:
            for event in generation:
                if isinstance(event, Text):
                    parts.append(event.delta)
                    ids += event.token_ids
                elif isinstance(event, Finished) and event.usage.generated_tokens:
                    self._keep(turn, "".join(parts), ids, ended=event.reason == "stop")
                yield event

    def _keep(self, turn: list[Message], answer: str, ids: list[int], *, ended: bool) -> None:
        self.messages = [*turn, Message("assistant", answer)]
        stop = self._model.default_stop if self._sampling is None else self._sampling.stop
        if not (self._model.default_stop if stop is None else stop):
            # A stop text is in the ids but not in the answer.
            self._kept_ids[len(turn)] = tuple(ids[:-1] if ended else ids)  # the template writes the end token

    def cancel(self) -> None:
        """End the answer at the engine's next step, also one that has not begun; its events still come."""
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()

    def used_tokens(self) -> int:
        """Return how much of the context the conversation takes."""
        return self._model.count_tokens(self.messages) if self.messages else 0
