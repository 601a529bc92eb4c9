"""Commands that go back in the conversation and ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.cli import options, render
from phi4local.cli.chat.commands.action import Ask
from phi4local.cli.text import shortened
from phi4local.errors import NoTurnError

if TYPE_CHECKING:
    from phi4local.cli.chat.state import Chat


def clear(chat: Chat, _argument: str) -> None:
    """Forget all turns."""
    chat.conversation.clear()
    chat.documents.attached.clear()
    chat.recount()
    render.notice("a new conversation")


def undo(chat: Chat, _argument: str) -> None:
    """Take the last turn back."""
    question = chat.conversation.undo()
    chat.recount()
    render.notice(f"taken back: {shortened(question)}")


def retry(chat: Chat, argument: str) -> Ask:
    """Ask the last question again. Example: `/retry temperature=1.2 seed=7`."""
    wanted = options.sampling_settings(None, None, None, None, None, argument.split())
    question = chat.conversation.last_question
    if question is None:
        raise NoTurnError("nothing was asked yet", hint="ask something first")
    return Ask(question, sampling=wanted if argument else None, replacing=True)


def edit(chat: Chat, _argument: str) -> Ask | None:
    """Write a question in the person's editor; the last one is changed if there is one."""
    from phi4local.cli.chat.outside import edited

    question = chat.conversation.last_question
    text = edited(question or "").strip()
    if not text or text == question:
        render.notice("nothing was changed" if text else "nothing was written")
        return None
    return Ask(text, replacing=question is not None)


def push(chat: Chat, _argument: str) -> None:
    """Remember this place."""
    places = chat.conversation.push()
    render.notice(f"{render.times(places, 'place')} remembered; /pop goes back to the last one")


def pop(chat: Chat, _argument: str) -> None:
    """Go back to the place that was remembered last."""
    turns = chat.conversation.pop()
    chat.recount()
    render.notice(f"{render.times(turns, 'turn')} taken back")
