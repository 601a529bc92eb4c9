"""Commands that take files in and write the conversation out."""

from __future__ import annotations

import glob as globbing
from pathlib import Path
from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.errors import InvalidSettingError, NoTurnError
from phi4local.files import new_file

if TYPE_CHECKING:
    from phi4local.cli.chat.state import Chat

MOST_FILES = 100


def read(chat: Chat, argument: str) -> None:
    """Put a file into the next question."""
    if not argument:
        raise InvalidSettingError("read", "names no file", hint="for example `/read notes.md`")
    _attach(chat, Path(argument).expanduser())


def glob(chat: Chat, argument: str) -> None:
    """Put the files of a pattern into the next question."""
    if not argument:
        raise InvalidSettingError("glob", "names no pattern", hint="for example `/glob src/**/*.py`")
    pattern = str(Path(argument).expanduser())
    names = sorted(globbing.glob(pattern, recursive=True))  # noqa: PTH207 - absolute patterns, too
    found = [path for name in names if (path := Path(name)).is_file()]
    if not found:
        raise InvalidSettingError("glob", f"{argument!r} fits no file", hint="`**` reaches into folders")
    if len(found) > MOST_FILES:
        raise InvalidSettingError("glob", f"fits {len(found)} files; {MOST_FILES} are the most")
    for path in found:
        _attach(chat, path)


def _attach(chat: Chat, path: Path) -> None:
    from phi4local.assistant.retrieval import read_document

    document = read_document(path)
    chat.documents.attached[document.name] = document
    if document.note:
        render.notice(f"note: {document.name}: {document.note}")
    lines = render.times(len(document.lines), "line")
    render.notice(f"{document.name}: {lines}{chat.cost_of(document.text)}, goes along with the next question")


def mentioned(chat: Chat, question: str) -> None:
    """Put the files into a question that it names, such as `@notes.md` or `@"my notes.md"`."""
    if "@" not in question:  # the import takes longer than the first token
        return
    from phi4local.assistant.retrieval import mentioned_files

    paths, problems = mentioned_files(question, Path())
    for problem in problems:
        render.notice(f"note: {problem}")
    for path in paths:
        _attach(chat, path)


def export(chat: Chat, argument: str) -> None:
    """Write the conversation to a file. Examples: `/export md`, `/export html talk.html`."""
    from phi4local.assistant.sessions import export as exports

    kind, _, name = argument.partition(" ")
    makers = {"md": exports.to_markdown, "json": exports.to_json, "html": exports.to_html}
    if kind not in makers:
        raise InvalidSettingError("export", f"is {kind!r}", hint="write `/export md`, `json` or `html`")
    path = Path(name.strip() or f"{chat.transcript().name or 'conversation'}.{kind}").expanduser()
    text = makers[kind](chat.transcript())
    with new_file(path) as file:
        file.write(text.encode())
    render.notice(f"written: {path}")


def copy(chat: Chat, argument: str) -> None:
    """Copy the last answer, or its last block of code."""
    from phi4local.assistant.extraction import code_blocks
    from phi4local.cli.chat import outside

    answer = chat.conversation.last_answer
    if answer is None:
        raise NoTurnError("nothing was answered yet", hint="ask something first")
    if argument == "code":
        blocks = list(code_blocks(answer))
        if not blocks:
            raise NoTurnError("the last answer has no block of code", hint="`/copy` takes all of it")
        answer = blocks[-1]
    render.notice(f"{len(answer):,} characters went to {outside.copy(answer)}")
