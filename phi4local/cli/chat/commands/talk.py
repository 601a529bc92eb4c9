"""Commands that go back in the conversation and ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.cli import options, render
from phi4local.cli.chat.commands.action import Ask, Retry

if TYPE_CHECKING:
    from phi4local.cli.chat.state import Chat


def clear(chat: Chat, _argument: str) -> None:
    """Forget all turns."""
    chat.conversation.clear()
    chat.attached.clear()
    chat.recount()
    render.notice("a new conversation")


def undo(chat: Chat, _argument: str) -> None:
    """Take the last turn back."""
    question = chat.conversation.undo()
    chat.recount()
    render.notice(f"taken back: {_short(question)}")


def retry(_chat: Chat, argument: str) -> Retry:
    """Ask the last question again. Example: `/retry temperature=1.2 seed=7`."""
    wanted = options.sampling_settings(None, None, None, None, None, argument.split())
    return Retry(wanted if argument else None)


def edit(chat: Chat, _argument: str) -> Ask | None:
    """Write a question in the person's editor; the last one is changed if there is one."""
    from phi4local.cli.chat.outside import edited

    question = chat.conversation.last_question
    text = edited(question or "").strip()
    if not text or text == question:
        render.notice("nothing was changed" if text else "nothing was written")
        return None
    if question is not None:
        chat.conversation.undo()
    return Ask(text)


def push(chat: Chat, _argument: str) -> None:
    """Remember this place."""
    places = chat.conversation.push()
    render.notice(f"{render.times(places, 'place')} remembered; /pop goes back to the last one")


def pop(chat: Chat, _argument: str) -> None:
    """Go back to the place that was remembered last."""
    turns = chat.conversation.pop()
    chat.recount()
    render.notice(f"{render.times(turns, 'turn')} taken back")


def _short(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
