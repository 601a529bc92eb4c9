"""An answer for the page, kept in a session that the terminal knows too."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from typing import TYPE_CHECKING, Any

from phi4local.assistant.context import answer_reserve, make_room
from phi4local.assistant.guard.events import Blocked, Noted, Unchecked
from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.assistant.thinking import Thought
from phi4local.engine import Finished, Text
from phi4local.errors import InvalidSettingError, Phi4LocalError, SessionBusyError
from phi4local.messages import Message
from phi4local.server.access_log import note_error
from phi4local.server.errors import message_of
from phi4local.server.task import Task

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from typing import TypeVar

    from phi4local.assistant.context import Room
    from phi4local.assistant.events import ConversationEvent
    from phi4local.assistant.sessions.session import Session
    from phi4local.assistant.sessions.transcript import Transcript
    from phi4local.runtime.model import Model
    from phi4local.server.answering import Answering
    from phi4local.server.page.requests import AnswerRequest

    _Result = TypeVar("_Result")

PATIENCE_SECONDS = 1.5
"""A session is busy for a moment after its answer was stopped; a terminal that has it open keeps it."""
_LOOK_AGAIN_SECONDS = 0.05


async def frames(answering: Answering, wanted: AnswerRequest) -> AsyncGenerator[str, None]:
    """Yield an answer as lines of JSON; closing the iterator cancels it and keeps what came.

    The first line is `begin`, then come `thought`, `text` and `notice`, at last `end` or `error`. Nothing is
    written into the session before the answer begins, so a refusal leaves it as it was.

    Raises:
        SessionBusyError, UnknownSessionError: somebody else has the session open; there is none.
        InvalidSettingError: it has fewer questions than shall stay.
        UnknownModelError, ContextTooLongError, GuardRefusedError, EngineError: as `Answering.events`.
    """
    session = await opened(wanted)
    kept = None
    try:
        async with answering.pool.use(wanted.model) as model:
            room = await asyncio.to_thread(_room, model, session.transcript, wanted)
            task = await _checked(answering, _task(room, wanted))
            kept = KeptAnswer(session, wanted, (task.messages() or ())[-1].content)
            async with contextlib.aclosing(answering.events(task)) as events:
                async for _, event in events:
                    if kept.begin():
                        yield frame("begin", session=session.transcript.id, dropped_turns=room.dropped_turns)
                    kept.take(event)
                    for line in _shown(event, model):
                        yield line
    except Phi4LocalError as error:
        if kept is None or not kept.begun:
            raise  # its own status tells more than a line
        kept.reason = "error"
        note_error(error)
        yield frame("error", message=message_of(error))
    finally:
        # Not in a thread: a task that was cancelled must not wait here, and a line of a file takes no time.
        if kept is not None:
            kept.close()
        session.close()


class KeptAnswer:
    """Writes a question down when its answer begins, and the answer when it ends, however it ends.

    Attributes:
        begun: whether something of the answer came.
        reason: why it ended, as sessions say it.
    """

    def __init__(self, session: Session, wanted: AnswerRequest, question: str) -> None:
        self.begun = False
        self.reason = "cancelled"
        self._session = session
        self._wanted = wanted
        self._question = question
        self._text = ""
        self._thought = ""
        self._tokens = 0

    def begin(self) -> bool:
        """Write the question down; return whether this was the first time."""
        if self.begun:
            return False
        session, wanted = self._session, self._wanted
        while wanted.turn is not None and session.transcript.turns > wanted.turn:
            session.undo()
        if wanted.system is not None and (wanted.system or None) != session.transcript.system:
            session.set_system(wanted.system or None)
        if session.transcript.model != wanted.model:
            session.set_model(wanted.model)
        session.add_user(self._question)
        self.begun = True
        return True

    def take(self, event: ConversationEvent) -> None:
        """Take what came."""
        if isinstance(event, Text):
            self._text += event.delta
            self._tokens += len(event.token_ids)
        elif isinstance(event, Thought):
            self._thought += event.delta
        elif isinstance(event, Blocked):
            self.reason = "blocked"
        elif isinstance(event, Finished):
            self.reason = event.reason if self.reason != "blocked" else self.reason
            self._tokens = event.usage.generated_tokens

    def close(self) -> None:
        """Write the answer down, as far as it came."""
        if self.begun:
            self._session.add_answer(
                self._text, reason=self.reason, tokens=self._tokens, thought=self._thought or None
            )


async def opened(wanted: AnswerRequest) -> Session:
    """Open the session of a request, or begin one.

    Raises:
        SessionBusyError: another program has it open.
    """
    library = SessionLibrary()
    name = wanted.session
    if name is None:
        work = functools.partial(library.create, model=wanted.model, system=wanted.system or None)
    else:
        work = functools.partial(library.open, name)
    opening = asyncio.ensure_future(patiently(work))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)  # nobody else would, and it would stay locked
        raise


def _close(opening: asyncio.Task[Session]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def patiently(work: Callable[[], _Result]) -> _Result:
    """Do something with a session; where it is busy, try again for a moment.

    Raises:
        SessionBusyError: it stays busy.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await asyncio.to_thread(work)
        except SessionBusyError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def conversation(transcript: Transcript, turn: int | None) -> tuple[Message, ...]:
    """Return the messages before question number `turn`, counted from 0; of all of them for `None`.

    Example: of three questions and answers, `turn` 1 leaves the first two messages.

    Raises:
        InvalidSettingError: there are fewer questions.
    """
    said = [one.message for one in transcript.said]
    places = [place for place, message in enumerate(said) if message.role == "user"]
    if turn is None or turn == len(places):
        return tuple(said)
    if turn > len(places):
        raise InvalidSettingError("turn", f"is {turn}; the conversation has {len(places)} questions")
    return tuple(said[: places[turn]])


def _room(model: Model, transcript: Transcript, wanted: AnswerRequest) -> Room:
    """Return what fits into the context: the oldest turns go where it is full."""
    system = transcript.system if wanted.system is None else wanted.system
    head = (Message("system", system),) if system else ()
    said = conversation(transcript, wanted.turn)
    messages = (*head, *said, Message("user", wanted.text))
    reserve = answer_reserve(model.context_tokens, wanted.max_tokens)
    return make_room(model, messages, reserve_tokens=reserve, policy="drop")


def _task(room: Room, wanted: AnswerRequest) -> Task:
    return Task(
        model=wanted.model, prompt=room.messages, sampling=wanted.sampling(), max_tokens=wanted.max_tokens
    )


async def _checked(answering: Answering, task: Task) -> Task:
    """Return the task as a guard lets the model read it: that is what the session keeps, too."""
    return await asyncio.to_thread(answering.screen.checked, task) if answering.screen else task


def _shown(event: ConversationEvent, model: Model) -> Iterator[str]:
    if isinstance(event, Text) and event.delta:
        yield frame("text", text=event.delta)
    elif isinstance(event, Thought):
        yield frame("thought", text=event.delta)
    elif isinstance(event, Blocked | Unchecked | Noted):
        yield frame("notice", text=event.message)
    elif isinstance(event, Finished):
        used = event.usage.prompt_tokens + event.usage.generated_tokens
        yield frame(
            "end",
            reason=event.reason,
            tokens=event.usage.generated_tokens,
            used_tokens=used,
            context_tokens=model.context_tokens,
            seconds=round(event.timings.generation_seconds, 3),
        )


def frame(kind: str, **facts: Any) -> str:  # noqa: ANN401 - JSON
    r"""Return a line of JSON. Example: `frame("text", text="Hi")` → `{"type": "text", "text": "Hi"}\n`."""
    return json.dumps({"type": kind, **facts}) + "\n"
