"""Messages so far, and the next answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.assistant.answer import Answer
from phi4local.assistant.context import answer_reserve, drop_turns, make_room
from phi4local.assistant.events import TurnsDropped
from phi4local.assistant.guard.events import Noted
from phi4local.assistant.history import History
from phi4local.assistant.summary import Summarizer
from phi4local.engine import Finished
from phi4local.errors import GuardRefusedError
from phi4local.messages import Message
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phi4local.assistant.context import ContextPolicy, Room
    from phi4local.assistant.events import ConversationEvent
    from phi4local.assistant.guard.guard import Guard
    from phi4local.assistant.history import Record
    from phi4local.engine import Generation
    from phi4local.runtime.language_model import LanguageModel


class Conversation(History):
    """One person, one model, the turns between them.

    Attributes:
        model: who answers; `take_over` lets another one go on.
        sampling: how tokens are chosen, or `None` for the model's own settings.
        max_tokens: longest answer.
        guard: checks questions and answers, or `None`.
        context_policy: what happens when it no longer fits; see `ContextPolicy`.

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
        self.context_policy: ContextPolicy = "stop"
        self._running: Generation | Summarizer | None = None
        self._cancelled = False

    def take_over(self, model: LanguageModel) -> None:
        """Let another model answer from now on."""
        self.model = model
        self._kept_ids = {}

    def ask(self, text: str, *, sampling: SamplingSettings | None = None) -> Iterator[ConversationEvent]:
        """Say something and yield the answer's events; the turn is kept when the answer ends.

        A cancelled answer is kept as far as it came; a turn without an answer is not. When the engine fails,
        the conversation is as it was before the question.

        Args:
            text: what the person says.
            sampling: settings for this answer only; unset fields take the conversation's.

        Raises:
            GuardRefusedError: the guard does not let the model read it.
            ContextFullError: turns would have to go, and the policy is "ask" or "stop".
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
        before = self.messages
        if self.record:
            self.record.add_user(text)
        try:
            room = self._room([*before, Message("user", text)])
            if room.dropped:
                yield TurnsDropped(turns=room.dropped_turns, tokens=room.dropped_tokens, summary=room.summary)
            yield from self._answer(room, chosen)
        finally:
            self._cancelled, self._running = False, None
            if self.record and self.messages is before:
                self.record.undo()

    def _room(self, turn: list[Message]) -> Room:
        self._running = Summarizer()
        reserve = answer_reserve(self.model.context_tokens, self.max_tokens)
        policy, kept = self.context_policy, self._kept_ids
        return make_room(
            self.model, turn, reserve_tokens=reserve, policy=policy, kept_ids=kept, summarizer=self._running
        )

    def retry(self, sampling: SamplingSettings | None = None) -> Iterator[ConversationEvent]:
        """Ask the last question again and yield the new answer's events; the old answer is forgotten.

        Args:
            sampling: settings for this answer only; unset fields take the conversation's.

        Raises:
            NoTurnError: nothing was asked yet.
        """
        return self.ask(self.undo(), sampling=sampling)

    def _answer(self, room: Room, sampling: SamplingSettings | None) -> Iterator[ConversationEvent]:
        kept_ids = room.moved(self._kept_ids)
        generation = self.model.chat(
            room.messages,
            sampling=sampling,
            max_tokens=self.max_tokens,
            kept_ids=kept_ids,
            shift=self.context_policy == "shift",
        )
        self._running = generation
        if self._cancelled:
            generation.cancel()
        answer = Answer(thinking=self.model.thinking)
        with generation:
            for event in self.guard.filtered(generation) if self.guard else generation:
                if isinstance(event, Finished):
                    yield from answer.rest()
                    if event.usage.generated_tokens:
                        self._keep(room, kept_ids, answer, event)
                        if answer.has_all_ids and not self._has_stop_texts(sampling):
                            self._kept_ids[len(self.messages) - 1] = answer.ids(event)
                    yield event
                else:
                    yield from answer.take(event)

    def _has_stop_texts(self, sampling: SamplingSettings | None) -> bool:
        stop = None if sampling is None else sampling.stop
        return bool(self.model.default_stop if stop is None else stop)

    def _keep(
        self, room: Room, kept_ids: dict[int, tuple[int, ...]], answer: Answer, finished: Finished
    ) -> None:
        if answer.shifted_turns:
            room = drop_turns(self.model, room.messages, answer.shifted_turns, kept_ids=kept_ids)
            kept_ids = room.moved(kept_ids)
        gone = room.dropped_turns
        self._pushed = [max(0, place - gone) for place in self._pushed]
        self.messages = [*room.messages, Message("assistant", answer.text)]
        self._kept_ids = dict(kept_ids)
        if self.record:
            tokens, thought = finished.usage.generated_tokens, answer.thought or None
            self.record.add_answer(answer.text, reason=finished.reason, tokens=tokens, thought=thought)

    def cancel(self) -> None:
        """End the answer at the engine's next step, also one that has not begun; its events still come."""
        self._cancelled = True
        if self._running is not None:
            self._running.cancel()

    def used_tokens(self) -> int:
        """Return how much of the context the conversation takes."""
        return self.model.count_tokens(self.messages) if self.messages else 0
