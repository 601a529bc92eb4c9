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

    def ask(
        self, text: str, *, sampling: SamplingSettings | None = None, replacing: bool = False
    ) -> Iterator[ConversationEvent]:
        """Say something and yield the answer's events; the turn is kept when the answer ends.

        A cancelled answer is kept as far as it came; a turn without an answer is not. When the engine fails,
        the conversation is as it was before the question.

        Args:
            text: what the person says.
            sampling: settings for this answer only; unset fields take the conversation's.
            replacing: let this turn take the place of the last one, as soon as it has an answer.

        Raises:
            GuardRefusedError: the guard does not let the model read it.
            ContextFullError: turns would have to go, and the policy is "ask" or "stop".
            NoTurnError: there is no turn to replace.
            ContextTooLongError, EngineError: as `model.chat`.
        """
        chosen = sampling.filled_from(self.sampling or SamplingSettings()) if sampling else self.sampling
        before, place = self.messages, self._last_turn() if replacing else len(self.messages)
        if self.guard is not None:
            verdict = self.guard.check_input(text)
            if not verdict.allowed:
                raise GuardRefusedError(verdict.text_for_person)
            if verdict.text_for_person:
                yield Noted(message=verdict.text_for_person)
            text = verdict.text
        kept = self._ids_before(place)
        self._note_question(text, replacing=replacing)
        try:
            room = self._room([*before[:place], Message("user", text)], kept)
            if room.dropped:
                yield TurnsDropped(turns=room.dropped_turns, tokens=room.dropped_tokens, summary=room.summary)
            yield from self._answer(room, room.moved(kept), chosen)
        finally:
            self._cancelled, self._running = False, None
            if self.messages is before:
                self._note_no_answer(replacing=replacing)

    def retry(self, sampling: SamplingSettings | None = None) -> Iterator[ConversationEvent]:
        """Ask the last question again; the old answer stays until there is a new one. See `ask`."""
        question = self.messages[self._last_turn()].content
        return self.ask(question, sampling=sampling, replacing=True)

    def _room(self, turn: list[Message], kept: dict[int, tuple[int, ...]]) -> Room:
        self._running = writer = Summarizer()
        if self._cancelled:
            writer.cancel()
        reserve = answer_reserve(self.model.context_tokens, self.max_tokens)
        policy = self.context_policy
        return make_room(
            self.model, turn, reserve_tokens=reserve, policy=policy, kept_ids=kept, summarizer=writer
        )

    def _answer(
        self, room: Room, kept: dict[int, tuple[int, ...]], sampling: SamplingSettings | None
    ) -> Iterator[ConversationEvent]:
        self._running = generation = self.model.chat(
            room.messages,
            sampling=sampling,
            max_tokens=self.max_tokens,
            kept_ids=kept,
            shift=self.context_policy == "shift",
        )
        if self._cancelled:
            generation.cancel()
        answer = Answer()
        with generation:
            for event in self.guard.filtered(generation) if self.guard else generation:
                if isinstance(event, Finished):
                    yield from answer.rest()
                    if event.usage.generated_tokens:
                        self._keep(room, kept, answer, event)
                        if answer.has_all_ids and not self._has_stop_texts(sampling):
                            self._kept_ids[len(self.messages) - 1] = answer.ids(event)
                    yield event
                else:
                    yield from answer.take(event)

    def _has_stop_texts(self, sampling: SamplingSettings | None) -> bool:
        stop = None if sampling is None else sampling.stop
        return bool(self.model.default_stop if stop is None else stop)

    def _keep(self, room: Room, kept: dict[int, tuple[int, ...]], answer: Answer, finished: Finished) -> None:
        gone = room.dropped_turns + answer.shifted_turns
        if answer.shifted_turns:
            room = drop_turns(self.model, room.messages, answer.shifted_turns, kept_ids=kept)
            kept = room.moved(kept)
        self._pushed = [max(0, place - gone) for place in self._pushed]
        self.messages = [*room.messages, Message("assistant", answer.text)]
        self._kept_ids = dict(kept)
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
