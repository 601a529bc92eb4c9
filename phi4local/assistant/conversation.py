"""Messages so far, and the next answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.assistant.guard.events import Blocked, Masked, Noted
from phi4local.assistant.history import History
from phi4local.engine import Finished, Text
from phi4local.errors import GuardRefusedError
from phi4local.messages import Message
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.guard.events import GuardEvent
    from phi4local.assistant.guard.guard import Guard
    from phi4local.assistant.history import Record
    from phi4local.engine import Event, Generation
    from phi4local.runtime.language_model import LanguageModel


class Conversation(History):
    """One person, one model, the turns between them.

    Attributes:
        model: who answers; `take_over` lets another one go on.
        sampling: how tokens are chosen, or `None` for the model's own settings.
        max_tokens: longest answer.
        guard: checks questions and answers, or `None`.

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
        record: Record | None = None,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(system, record)
        self.model = model
        self.sampling = sampling
        self.max_tokens = max_tokens
        self.guard = guard
        self._running: Generation | None = None
        self._cancelled = False

    def take_over(self, model: LanguageModel) -> None:
        """Let another model answer from now on."""
        self.model = model
        self._kept_ids = {}

    def ask(self, text: str, *, sampling: SamplingSettings | None = None) -> Iterator[Event | GuardEvent]:
        """Say something and yield the answer's events; the turn is kept when the answer ends.

        A cancelled answer is kept as far as it came; a turn without an answer is not. When the engine fails,
        the conversation is as it was before the question.

        Args:
            text: what the person says.
            sampling: settings for this answer only; unset fields take the conversation's.

        Raises:
            GuardRefusedError: the guard does not let the model read it.
            ContextTooLongError, EngineError: as `model.chat`.
        """
        chosen = sampling.filled_from(self.sampling or SamplingSettings()) if sampling else self.sampling
        if self.guard is not None:
            verdict = self.guard.check_input(text)
            if not verdict.allowed:
                raise GuardRefusedError(verdict.text_for_person)
            if verdict.text_for_person:
                yield Noted(message=verdict.text_for_person)
            text = verdict.text
        turn = [*self.messages, Message("user", text)]
        if self.record:
            self.record.add_user(text)
        try:
            yield from self._answer(turn, chosen)
        finally:
            self._cancelled, self._running = False, None
            if self.record and len(self.messages) < len(turn):
                self.record.undo()

    def retry(self, sampling: SamplingSettings | None = None) -> Iterator[Event | GuardEvent]:
        """Ask the last question again and yield the new answer's events; the old answer is forgotten.

        Args:
            sampling: settings for this answer only; unset fields take the conversation's.

        Raises:
            NoTurnError: nothing was asked yet.
        """
        return self.ask(self.undo(), sampling=sampling)

    def _answer(self, turn: list[Message], sampling: SamplingSettings | None) -> Iterator[Event | GuardEvent]:
        generation = self.model.chat(
            turn, sampling=sampling, max_tokens=self.max_tokens, kept_ids=self._kept_ids
        )
        self._running = generation
        if self._cancelled:
            generation.cancel()
        parts: list[str] = []
        ids: list[int] = []
        whole = True
        with generation:
            for event in self.guard.filtered(generation) if self.guard else generation:
                if isinstance(event, Text):
                    parts.append(event.delta)
                    ids += event.token_ids
                elif isinstance(event, Blocked | Masked):
                    whole = False
                elif isinstance(event, Finished) and event.usage.generated_tokens:
                    self._keep(turn, "".join(parts), event)
                    if whole and not self._has_stop_texts(sampling):
                        # A stop text is in the ids but not in the answer.
                        ended = event.reason == "stop"  # the template writes the end token
                        self._kept_ids[len(turn)] = tuple(ids[:-1] if ended else ids)
                yield event

    def _has_stop_texts(self, sampling: SamplingSettings | None) -> bool:
        stop = None if sampling is None else sampling.stop
        return bool(self.model.default_stop if stop is None else stop)

    def _keep(self, turn: list[Message], answer: str, finished: Finished) -> None:
        self.messages = [*turn, Message("assistant", answer)]
        if self.record:
            tokens = finished.usage.generated_tokens
            self.record.add_answer(answer, reason=finished.reason, tokens=tokens)

    def cancel(self) -> None:
        """End the answer at the engine's next step, also one that has not begun; its events still come."""
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()

    def used_tokens(self) -> int:
        """Return how much of the context the conversation takes."""
        return self.model.count_tokens(self.messages) if self.messages else 0
