"""Commands about kept conversations, and what a person thinks of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.cli.chat import keeping
from phi4local.cli.chat.places import title_of
from phi4local.cli.text import shortened
from phi4local.errors import InvalidSettingError, NoTurnError

if TYPE_CHECKING:
    from phi4local.assistant.sessions.feedback import Rating
    from phi4local.cli.chat.state import Chat

MOST_LISTED = 20


def save(chat: Chat, argument: str) -> None:
    """Give the session a name; it is kept anyway, unless the program was started with `--no-save`."""
    if not argument:
        raise InvalidSettingError("save", "names no session", hint="for example `/save trip to Rome`")
    if chat.session is None:
        keeping.begin(chat, argument)
    else:
        chat.session.rename(argument)
    render.notice(
        f"this session is called {argument}; `phi4local chat --session {argument!r}` goes on with it"
    )


def load(chat: Chat, argument: str) -> None:
    """Go on with another session."""
    if not argument:
        raise InvalidSettingError("load", "names no session", hint="`/sessions` lists them")
    keeping.go_on(chat, chat.library.open(argument))


def sessions(chat: Chat, argument: str) -> None:
    """List sessions, or search in them."""
    if argument:
        hits = chat.library.search(argument)
        for hit in hits[:MOST_LISTED]:
            render.notice(f"{hit.session}, turn {hit.turn}: {shortened(hit.excerpt, 100)}")
        if not hits:
            render.notice(f"no session has {argument!r}")
        return
    kept = chat.library.list()
    for one in kept[:MOST_LISTED]:
        render.notice(
            f"{one.name}  {render.times(one.turns, 'turn')}  {one.model}  {shortened(one.first_words, 50)}"
        )
    more = len(kept) - MOST_LISTED
    render.notice(f"{more} more: `phi4local sessions list`" if more > 0 else "/load NAME goes on with one")


def fork(chat: Chat, argument: str) -> None:
    """Go on in a copy of this session; the original stays as it is."""
    if chat.session is None:
        raise NoTurnError("this conversation is not kept", hint="`/save NAME` keeps it")
    keeping.go_on(chat, chat.session.fork(argument or None))


def good(chat: Chat, argument: str) -> None:
    """Keep the last answer as a good example."""
    _rate(chat, "good", argument)


def bad(chat: Chat, argument: str) -> None:
    """Keep the last answer as a bad one, with what is wrong."""
    _rate(chat, "bad", argument)


def _rate(chat: Chat, rating: Rating, note: str) -> None:
    from phi4local.assistant.sessions import feedback

    path = feedback.rate(chat.conversation.messages, rating, note=note or None, model=title_of(chat.model))
    render.notice(f"the last answer is kept as {rating} in {path}")
