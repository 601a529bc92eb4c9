"""The table of commands."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.cli.chat.commands import files, models, sessions, settings, talk
from phi4local.cli.chat.commands.action import Ask, Leave

if TYPE_CHECKING:
    from collections.abc import Callable

    from phi4local.cli.chat.commands.action import Action
    from phi4local.cli.chat.state import Chat

__all__ = ["COMMANDS", "Ask", "Command", "Leave", "perform"]


@dataclass(frozen=True, slots=True)
class Command:
    """One line of `/help`.

    Attributes:
        names: how it is called, the first one in `/help`.
        arguments: what stands behind the name.
        help: what it does.
        run: does it, with the text behind the name.
    """

    names: tuple[str, ...]
    arguments: str
    help: str
    run: Callable[[Chat, str], Action]


def _help(_chat: Chat, _argument: str) -> None:
    rows = [(f"{command.names[0]} {command.arguments}".rstrip(), command.help) for command in COMMANDS]
    render.columns(rows)
    render.notice('Several lines: """ around them, Alt-Enter, or a backslash at the end. Ctrl-R searches.')
    render.notice("Ctrl-C ends an answer and keeps what came. @FILE in a question puts the file into it.")


COMMANDS = (
    Command(("/help", "/?"), "", "show this", _help),
    Command(("/exit", "/bye", "/quit"), "", "leave (also Ctrl-D)", lambda _chat, _argument: Leave()),
    Command(("/clear", "/new"), "", "forget all turns; the instruction stays", talk.clear),
    Command(("/undo",), "", "take the last question and its answer back", talk.undo),
    Command(("/retry", "/regen"), "[NAME=VALUE…]", "ask the last question again", talk.retry),
    Command(("/edit",), "", "write a question, or change the last one, in $EDITOR", talk.edit),
    Command(("/push",), "", "remember this place", talk.push),
    Command(("/pop",), "", "go back to the place remembered last", talk.pop),
    Command(("/system",), "[TEXT|off]", "show or change the instruction before everything", settings.system),
    Command(("/set",), "[NAME VALUE|NAME off]", "show or change how tokens are chosen", settings.change),
    Command(
        ("/json",),
        "[SCHEMA|FILE|off]",
        "answers are JSON, of this schema if there is one",
        settings.json_schema,
    ),
    Command(("/think",), "show|fold|hide", "what to show of a reasoning model's thoughts", settings.think),
    Command(("/quiet",), "", "say nothing below answers", settings.quiet),
    Command(("/verbose",), "", "say more below answers; again for less", settings.verbose),
    Command(("/raw",), "", "show answers without markdown; again with it", settings.raw),
    Command(("/model",), "[NAME]", "show the model, or let another one go on", models.model),
    Command(("/adapter",), "[ADAPTER[:SCALE]|off]", "apply a LoRA adapter", models.adapter),
    Command(("/show",), "", "what the model is", models.show),
    Command(
        ("/context",), "[POLICY]", "how full the context is, and what to do when it is full", models.context
    ),
    Command(("/stats",), "", "what the answers took", models.stats),
    Command(("/bench",), "", "measure this model now, a few seconds", models.bench),
    Command(("/read",), "FILE", "put a file into the next question", files.read),
    Command(("/glob",), "PATTERN", "put several files into the next question", files.glob),
    Command(("/export",), "md|json|html [FILE]", "write the conversation to a file", files.export),
    Command(("/copy",), "[code]", "copy the last answer, or its last block of code", files.copy),
    Command(("/save",), "NAME", "give this session a name", sessions.save),
    Command(("/load",), "NAME", "go on with another session", sessions.load),
    Command(("/sessions",), "[WORDS]", "list sessions, or those with these words", sessions.sessions),
    Command(("/fork",), "[NAME]", "go on in a copy of this session", sessions.fork),
    Command(("/good",), "[NOTE]", "keep the last answer as a good example", sessions.good),
    Command(("/bad",), "[NOTE]", "keep the last answer as a bad one, with what is wrong", sessions.bad),
)


def perform(chat: Chat, line: str) -> Action:
    """Do what a line says that begins with a slash, and return what the conversation does then.

    Example: `perform(chat, "/clear")`.

    Raises:
        Phi4LocalError: what the command says of it.
    """
    name, _, argument = line.partition(" ")
    for command in COMMANDS:
        if name.lower() in command.names:
            return command.run(chat, argument.strip())
    known = [each for command in COMMANDS for each in command.names]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    meant = f"did you mean {near[0]}?" if near else "/help lists them"
    render.notice(f"there is no command {name}; {meant}")
    return None
