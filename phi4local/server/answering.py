"""A task → its events. Whoever stops reading them cancels the work at the engine's next step."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from phi4local.assistant.answer import Answer
from phi4local.assistant.guard.events import Blocked
from phi4local.assistant.thinking import CLOSING
from phi4local.assistant.tools import ToolPrompt, between_marks, in_words
from phi4local.engine import Finished
from phi4local.errors import RequestTimeoutError
from phi4local.prompts import TextSegment, TokenSegment
from phi4local.runtime.language_model import started
from phi4local.server.access_log import note_model
from phi4local.server.screen import Screen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence

    from phi4local.assistant.events import ConversationEvent
    from phi4local.assistant.guard.events import GuardEvent
    from phi4local.assistant.guard.guard import Guard
    from phi4local.assistant.guard.stream import OutputFilter
    from phi4local.assistant.tools import CallReader
    from phi4local.engine import Event, Generation
    from phi4local.runtime.model import Model
    from phi4local.runtime.pool import ModelPool
    from phi4local.server.options import ServerOptions
    from phi4local.server.task import Task
    from phi4local.settings import SamplingSettings

Numbered = tuple[int, "ConversationEvent"]
"""An event, and which of a task's answers it belongs to."""


class Answering:
    """Lets the models of a pool answer tasks. One for a server; `app.state.answering`.

    Attributes:
        pool: the models.
        options: the server's.
        guard: checks what comes and goes, or `None`.
        note: hears of every event of every answer, for statistics.

    Example::

        async with contextlib.aclosing(answering.events(task)) as events:
            async for number, event in events:
                ...
    """

    def __init__(
        self,
        pool: ModelPool,
        options: ServerOptions,
        guard: Guard | None = None,
        note: Callable[[ConversationEvent], None] = lambda _event: None,
    ) -> None:
        self.pool = pool
        self._note = note
        self.options = options
        self.guard = guard
        self.screen = Screen(guard) if guard else None

    async def events(self, task: Task) -> AsyncGenerator[Numbered, None]:
        """Yield the events of all answers as they come; each answer's last one is `Finished`.

        Closing the iterator cancels what still runs. An answer that takes longer than the server allows ends
        with the reason `time`.

        Raises:
            UnknownModelError, NotEnoughMemoryError: there is no such model, or no room for it.
            GuardRefusedError: the guard does not let the model read the prompt.
            RequestTimeoutError: time was over before the answer began.
            InvalidSettingError, ContextTooLongError, ChatTemplateError, EngineError: as `model.chat`.
        """
        if self.screen is not None:
            task = await asyncio.to_thread(self.screen.checked, task.with_tools_told())
        async with self.pool.use(task.model, keep_alive_seconds=task.keep_alive_seconds) as model:
            note_model(task.model)
            with contextlib.ExitStack() as running:
                deadline = Deadline(self.options.request_seconds)
                running.callback(deadline.close)
                streams, tools = [], tool_prompt(model, task)
                for number, sampling in enumerate(task.samplings()):
                    generation = await started(functools.partial(_start, model, task, sampling, tools))
                    running.enter_context(generation)
                    deadline.watch(generation)
                    reader = tools.reader(task.tool_use) if tools and task.tool_use else None
                    streams.append(self._shown(number, generation, deadline, reader))
                async with contextlib.aclosing(merged(streams)) as events:
                    async for event in events:
                        yield event

    async def _shown(
        self, number: int, generation: Generation, deadline: Deadline, calls: CallReader | None
    ) -> AsyncGenerator[Numbered, None]:
        """Yield what a person may see of an answer: checked by the guard, thoughts and calls told apart."""
        answer, check = Answer(), self.guard.output_filter() if self.guard else None
        async for event in generation:
            parts = [event] if check is None else await asyncio.to_thread(_pushed, check, event)
            for part in parts:
                if isinstance(part, Blocked):
                    generation.cancel()
                for shown in _parts(answer, part):
                    self._note(shown)
                    for told in (shown,) if calls is None else calls.push(shown):
                        yield number, deadline.judged(told)

    async def all_events(self, tasks: Sequence[Task]) -> AsyncGenerator[Numbered, None]:
        """Yield the events of several tasks at once; the answers are numbered through. See `events`."""
        firsts = itertools.accumulate((task.answers for task in tasks), initial=0)
        streams = [
            _numbered_from(first, self.events(task)) for first, task in zip(firsts, tasks, strict=False)
        ]
        async with contextlib.aclosing(merged(streams)) as events:
            async for event in events:
                yield event

    async def count(self, task: Task) -> int:
        """Return how many tokens the prompt of a task takes, a conversation, without answering it.

        Raises:
            UnknownModelError, NotEnoughMemoryError, InvalidSettingError, ChatTemplateError: as `events`.
        """
        async with self.pool.use(task.model) as model:
            return await asyncio.to_thread(_count, model, task)

    async def tokens(self, name: str) -> Model:
        """Return a model for asking what its tokens are called; its vocabulary is here already."""
        async with self.pool.use(name) as model:
            await asyncio.to_thread(model.pieces)
            return model


class Deadline:
    """Cancels generations when their time is over, and says so in their last event."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over = False
        self._generations: list[Generation] = []
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def watch(self, generation: Generation) -> None:
        """Let this generation end in time, too."""
        self._generations.append(generation)
        if self._over:
            generation.cancel()

    def judged(self, event: ConversationEvent) -> ConversationEvent:
        """Return an event; a cancelled answer whose time was over ended for `time`.

        Raises:
            RequestTimeoutError: it had not begun.
        """
        return self.judged_end(event) if isinstance(event, Finished) else event

    def judged_end(self, event: Finished) -> Finished:
        """Return the end of an answer; see `judged`."""
        if not self._over or event.reason != "cancelled":
            return event
        if not event.usage.generated_tokens:
            raise RequestTimeoutError(self._seconds)
        return Finished(reason="time", usage=event.usage, timings=event.timings)

    def close(self) -> None:
        """Stop the clock."""
        self._timer.cancel()

    def _end(self) -> None:
        self._over = True
        for generation in self._generations:
            generation.cancel()


def tool_prompt(model: Model, task: Task) -> ToolPrompt | None:
    """Return what a task with tools becomes for a model: between its own marks, if it has any."""
    messages, marks = task.messages(), model.manifest.tool_marks if model.manifest else None
    if task.tool_use is None or messages is None:
        return None
    if task.tools_told:
        return ToolPrompt(messages=messages, structure=task.tool_use.structure())
    return between_marks(task.tool_use, messages, marks) if marks else in_words(task.tool_use, messages)


def _count(model: Model, task: Task) -> int:
    tools = tool_prompt(model, task)
    if tools is None:
        return model.count_tokens(task.messages() or ())
    segments = (*model.chat_segments(tools.messages, written=tools.written), *tools.begun)
    return model.count_segments(segments)


def _start(model: Model, task: Task, sampling: SamplingSettings, tools: ToolPrompt | None) -> Generation:
    most, messages = task.max_tokens, task.messages()
    if isinstance(task.prompt, str) and task.control_tokens:
        whole = TextSegment(task.prompt, special=True)
        return model.submit_segments((whole,), sampling=sampling, max_tokens=most)
    if isinstance(task.prompt, str):
        return model.generate(task.prompt, sampling=sampling, max_tokens=most)
    if tools is not None:
        sampling = _behind_thoughts(model, replace(sampling, **tools.structure))
        segments = (*model.chat_segments(tools.messages, written=tools.written), *tools.begun)
        return model.submit_segments(segments, sampling=sampling, max_tokens=most)
    if messages is not None:
        return model.chat(messages, sampling=_behind_thoughts(model, sampling), max_tokens=most)
    ids = task.token_ids()
    model.require_tokens(ids)
    return model.submit_segments((TokenSegment(ids),), sampling=sampling, max_tokens=most)


def _behind_thoughts(model: Model, sampling: SamplingSettings) -> SamplingSettings:
    """Let a reasoning model think before its answer follows a structure."""
    if not model.thinking or not has_structure(sampling):
        return sampling
    return replace(sampling, structure_after=sampling.structure_after or CLOSING)


def has_structure(sampling: SamplingSettings) -> bool:
    """Return whether a whole answer has to follow something; behind its thoughts, where there are any."""
    return bool(sampling.json_schema or sampling.regex) and sampling.structure_trigger is None


async def _numbered_from(
    first: int, events: AsyncGenerator[Numbered, None]
) -> AsyncGenerator[Numbered, None]:
    async with contextlib.aclosing(events):
        async for number, event in events:
            yield first + number, event


def _pushed(check: OutputFilter, event: Event) -> list[Event | GuardEvent]:
    return list(check.push(event))


def _parts(answer: Answer, event: Event | GuardEvent) -> Iterator[ConversationEvent]:
    if isinstance(event, Finished):
        yield from answer.rest()
        yield event
    else:
        yield from answer.take(event)


async def merged(streams: list[AsyncGenerator[Numbered, None]]) -> AsyncGenerator[Numbered, None]:
    """Yield what several streams bring, as it comes; closing it closes them."""
    if len(streams) == 1:
        async with contextlib.aclosing(streams[0]) as only:
            async for event in only:
                yield event
        return
    arrived: asyncio.Queue[Numbered | BaseException | None] = asyncio.Queue()
    tasks = [asyncio.ensure_future(_pour(stream, arrived.put_nowait)) for stream in streams]
    try:
        left = len(tasks)
        while left:
            item = await arrived.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pour(
    stream: AsyncGenerator[Numbered, None], put: Callable[[Numbered | BaseException | None], None]
) -> None:
    try:
        async for event in stream:
            put(event)
    except BaseException as error:
        put(error)
        raise
    put(None)
