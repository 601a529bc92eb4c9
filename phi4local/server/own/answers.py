"""Answers for phi4local's own command line: the engine's events, as a model loaded there makes them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from phi4local.engine import Finished
from phi4local.errors import ContextTooLongError, InvalidSettingError, Phi4LocalError, UnsupportedFieldError
from phi4local.messages import Message
from phi4local.runtime.language_model import started
from phi4local.runtime.remote.wire import told, told_error
from phi4local.server.access_log import note_error, note_model
from phi4local.server.answering import Deadline
from phi4local.server.strict import Strict
from phi4local.settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from phi4local.assistant.events import ConversationEvent
    from phi4local.engine import Event, Generation
    from phi4local.runtime.model import Model
    from phi4local.server.answering import Answering


class Turn(Strict):
    """A message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(Strict):
    """A conversation, or a text.

    Attributes:
        kept_ids: token ids of answers as they were generated, by the index of their message.
    """

    model: str
    messages: list[Turn] | None = None
    text: str | None = None
    kept_ids: dict[str, list[int]] = Field(default_factory=dict)

    def conversation(self) -> tuple[Message, ...]:
        """Return the messages.

        Raises:
            UnsupportedFieldError: there is a text too, or nothing at all.
        """
        if (self.messages is None) == (self.text is None):
            raise UnsupportedFieldError("messages", "and `text` exclude each other, and one is needed")
        return tuple(Message(turn.role, turn.content) for turn in self.messages or ())

    def ids_for(self, model: Model) -> dict[int, tuple[int, ...]]:
        """Return the kept ids, by the number of their message.

        Raises:
            InvalidSettingError: ids that the vocabulary does not have, or of no message.
        """
        places = {str(place): place for place in range(len(self.messages or ()))}
        for name, ids in self.kept_ids.items():
            if name not in places:
                raise InvalidSettingError("kept_ids", f"has {name!r}, which is the number of no message")
            model.require_tokens(ids)
        return {places[name]: tuple(ids) for name, ids in self.kept_ids.items()}

    def count(self, model: Model) -> int:
        """Return how many tokens it takes in the context."""
        messages = self.conversation()
        if self.text is not None:
            return len(model.tokenize(self.text))
        return model.count_tokens(messages, kept_ids=self.ids_for(model))

    def ids(self, model: Model) -> list[int]:
        """Return the token ids of a text, or of a conversation as the model reads it."""
        messages = self.conversation()
        return model.tokenize(messages if self.text is None else self.text)


class Wanted(Prompt):
    """An answer.

    Attributes:
        sampling: fields of `SamplingSettings`.
        shift: drop the oldest turns when the context is full.
        context_tokens: answer as if the context had so many; fewer than it has.
    """

    max_tokens: int | None = None
    sampling: dict[str, Any] = Field(default_factory=dict)
    shift: bool = False
    context_tokens: int | None = None

    def start(self, model: Model) -> Generation:
        """Begin the answer."""
        messages, most = self.conversation(), self.max_tokens
        sampling = SamplingSettings.from_mapping(self.sampling)
        if self.context_tokens is not None and self.context_tokens < model.context_tokens:
            most = self._room(model, self.context_tokens)
        if self.text is not None:
            return model.generate(self.text, sampling=sampling, max_tokens=most)
        ids = self.ids_for(model)
        return model.chat(messages, sampling=sampling, max_tokens=most, kept_ids=ids, shift=self.shift)

    def _room(self, model: Model, context_tokens: int) -> int:
        prompt_tokens = self.count(model)
        if prompt_tokens >= context_tokens:
            raise ContextTooLongError(
                prompt_tokens=prompt_tokens,
                context_tokens=context_tokens,
                trained_context_tokens=model.trained_context_tokens,
            )
        most = model.defaults.max_tokens if self.max_tokens is None else self.max_tokens
        room = context_tokens - prompt_tokens
        return room if most is None else min(most, room)


async def lines(
    answering: Answering, wanted: Wanted, note: Callable[[ConversationEvent], None]
) -> AsyncGenerator[str, None]:
    """Yield an answer as lines of JSON; an error is the last one.

    Args:
        answering: the server's models and limits.
        wanted: what is asked.
        note: hears of every event, for statistics.
    """
    try:
        async with contextlib.aclosing(_events(answering, wanted)) as events:
            async for event in events:
                note(event)
                yield json.dumps(told(event), ensure_ascii=False) + "\n"
    except Phi4LocalError as error:
        note_error(error)
        yield json.dumps({"error": told_error(error)}) + "\n"


async def counted(answering: Answering, prompt: Prompt, *, with_ids: bool) -> dict[str, Any]:
    """Return how many tokens a prompt has, and which; the model is loaded for it when it is not."""
    try:
        async with answering.pool.use(prompt.model) as model:
            note_model(prompt.model)
            if with_ids:
                return {"ids": await asyncio.to_thread(prompt.ids, model)}
            return {"count": await asyncio.to_thread(prompt.count, model)}
    except Phi4LocalError as error:
        note_error(error)
        return {"error": told_error(error)}


async def _events(answering: Answering, wanted: Wanted) -> AsyncGenerator[Event, None]:
    if answering.guard is not None:
        raise UnsupportedFieldError("model", "is behind a guard here: ask as other programs do")
    async with answering.pool.use(wanted.model) as model:
        note_model(wanted.model)
        with contextlib.ExitStack() as running:
            deadline = Deadline(answering.options.request_seconds)
            running.callback(deadline.close)
            generation = await started(functools.partial(wanted.start, model))
            running.enter_context(generation)
            deadline.watch(generation)
            async for event in generation:
                yield deadline.judged_end(event) if isinstance(event, Finished) else event
