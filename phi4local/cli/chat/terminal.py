"""A conversation on a terminal: read a line, do what it says, until the person leaves."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

from phi4local.assistant.context import policy_of
from phi4local.cli import render
from phi4local.cli.chat import commands, keeping, reply
from phi4local.cli.chat.commands import COMMANDS, Ask, Leave
from phi4local.cli.chat.commands.files import mentioned
from phi4local.cli.chat.editor import Editor, PlainEditor
from phi4local.cli.chat.places import headline
from phi4local.cli.chat.status import line as status_line
from phi4local.errors import ContextFullError, Phi4LocalError, RemoteError

if TYPE_CHECKING:
    from pathlib import Path

    from phi4local.cli.chat.commands.action import Action
    from phi4local.cli.chat.state import Chat

WARNING = "You talk with an AI. It may be wrong, and knows English best."


def converse(chat: Chat, history: Path | None) -> None:
    """Read turns and answer them until /exit or the end of input.

    Args:
        chat: the conversation.
        history: the file of what was typed before, or `None` to keep none.
    """
    render.notice(headline(chat.model))
    render.notice(f"{WARNING} /help lists the commands, Ctrl-D leaves.")
    editor = _editor(chat, history)
    threading.Thread(target=reply.warm_up, daemon=True).start()
    interrupted = False
    while True:
        try:
            text = editor.read()
        except EOFError:
            return
        except KeyboardInterrupt:
            if interrupted:
                raise
            interrupted = True
            render.notice("Ctrl-C again or Ctrl-D leaves")
            continue
        interrupted = False
        if text and not _turn(chat, text, editor):
            return


def _editor(chat: Chat, history: Path | None) -> Editor | PlainEditor:
    from phi4local.cli.chat.completion import Words
    from phi4local.cli.options import complete_model
    from phi4local.store import adapters

    if not reply.is_screen(sys.stderr if not sys.stdout.isatty() else sys.stdout):
        return PlainEditor()
    names = [name for command in COMMANDS for name in command.names]
    words = Words(
        names,
        {
            "/model": lambda: complete_model(""),
            "/load": lambda: [one.name for one in chat.library.list()],
            "/adapter": lambda: ["off", *(one.name for one in adapters.named())],
        },
    )
    blocks = "utf" in (sys.stdout.encoding or "").lower()
    return Editor(
        history=history,
        completer=words,
        status=lambda: status_line(chat.status(), reply.columns(), blocks=blocks),
        colour=reply.has_colour(),
    )


def _turn(chat: Chat, text: str, editor: Editor | PlainEditor) -> bool:
    """Do what a person said, and return whether the conversation goes on."""
    try:
        action = _command(chat, text) if text.startswith("/") else Ask(text)
        if isinstance(action, Leave):
            return False
        if isinstance(action, Ask):
            if not action.replacing:
                mentioned(chat, action.text)
                action = Ask(chat.with_documents(action.text))
            _answer_with_room(chat, editor, action)
    except Phi4LocalError as error:
        render.notice(f"error: {error}")
        if hint := _hint(chat, error):
            render.notice(f"hint: {hint}")
    return True


def _hint(chat: Chat, error: Phi4LocalError) -> str | None:
    """Return what to do now; a server that has gone is no reason to end the conversation."""
    from phi4local.runtime.remote.own_model import OwnModel

    if isinstance(error, RemoteError) and isinstance(chat.model, OwnModel):
        name = chat.model_name or chat.model.name
        return f"`/model {name}` goes on, with the model loaded here if the server is gone"
    return error.hint


def _answer_with_room(chat: Chat, editor: Editor | PlainEditor, question: Ask) -> None:
    """Answer a question; when the context is full, ask the person what shall go."""
    try:
        _answer(chat, editor, question)
    except ContextFullError as error:
        if chat.conversation.context_policy != "ask":
            raise
        render.notice(f"{error}")
        render.notice(
            "What shall go? drop (the oldest turns), summarize (them), shift (as the answer comes), stop"
        )
        choice = editor.read("drop").strip()
        if choice in ("drop", "summarize", "shift"):
            chat.conversation.context_policy = policy_of(choice)
            render.notice(f"from now on: {choice}; /context changes it")
            _answer(chat, editor, question)
        else:
            render.notice("nothing was asked; the Up key brings the question back")


def _command(chat: Chat, text: str) -> Action:
    """Do what a command says; Ctrl-C stops it and keeps the conversation."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return commands.perform(chat, text)
    except KeyboardInterrupt:
        render.notice("stopped")
        return None


def _answer(chat: Chat, editor: Editor | PlainEditor, question: Ask) -> None:
    with reply.interruptible(chat.conversation, editor.interrupted):
        if chat.saves and chat.session is None:
            keeping.begin_if_possible(chat)
        events = chat.conversation.ask(
            question.text, sampling=question.sampling, replacing=question.replacing
        )
        finished = reply.show(events, chat.view)
    chat.finish(finished)
    for line in chat.citations():
        render.dim_notice(line)
    reply.below(finished, chat.view, chat.model.context_tokens)
    sys.stdout.write("\n")
    sys.stdout.flush()
