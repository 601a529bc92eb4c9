"""A conversation on a terminal."""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING

from phi4local.cli import render
from phi4local.cli.stream import print_answer, statistics
from phi4local.cli.text import visible
from phi4local.errors import Phi4LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from phi4local.assistant.conversation import Conversation
    from phi4local.runtime.model import Model
    from phi4local.runtime.remote.model import RemoteModel

PROMPT = ">>> "
HELP = """/new    start a new conversation
/help   show this
/bye    leave (also Ctrl-D)
Ctrl-C ends an answer; what came so far is kept."""


def converse(model: Model | RemoteModel, conversation: Conversation) -> None:
    """Read turns and answer them until /bye or the end of input."""
    _enable_line_editing()
    render.notice(_headline(model))
    render.notice("/help lists the commands, Ctrl-D leaves")
    while True:
        try:
            text = _read_line().strip()
        except EOFError:
            sys.stdout.write("\n")
            return
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            render.notice("Ctrl-D or /bye leaves")
            continue
        if text.split()[:1] == ["/bye"]:
            return
        if text.startswith("/"):
            _command(text, conversation)
        elif text:
            _answer(model, conversation, text)


def _read_line() -> str:
    if sys.stdout.isatty():
        return input(PROMPT)
    sys.stderr.write(PROMPT)  # the answers go to a file: the prompt does not belong there
    sys.stderr.flush()
    return input()


def _headline(model: Model | RemoteModel) -> str:
    from phi4local.runtime.remote.model import RemoteModel

    if isinstance(model, RemoteModel):
        return f"{visible(model.name)} on {model.address}"
    settings = model.facts.settings
    on_gpu, layers = settings.gpu_layers or 0, model.file.layers + 1
    where = [f"{on_gpu} of {layers} layers on the GPU" if on_gpu else "all layers on the CPU"]
    where += [f"{settings.threads} threads"] if on_gpu < layers else []
    size = render.size(model.file.header.file_bytes)
    return f"{model.name}, {size}, {model.context_tokens:,} tokens of context, {', '.join(where)}"


def _command(text: str, conversation: Conversation) -> None:
    name = text.split(maxsplit=1)[0]
    if name == "/new":
        conversation.clear()
        render.notice("a new conversation")
    elif name == "/help":
        for line in HELP.split("\n"):
            render.notice(line)
    else:
        render.notice(f"there is no command {name}; /help lists them")


def _answer(model: Model | RemoteModel, conversation: Conversation, text: str) -> None:
    try:
        with _interrupt_cancels(conversation):
            finished = print_answer(conversation.ask(text))
    except Phi4LocalError as error:
        render.notice(f"error: {error}")
        if error.hint:
            render.notice(f"hint: {error.hint}")
        return
    usage = finished.usage
    used = usage.prompt_tokens + usage.generated_tokens
    limit = f"/{model.context_tokens:,}" if model.context_tokens else ""
    render.dim_notice(f"{statistics(finished)}, context {used:,}{limit}")
    sys.stdout.write("\n")


@contextlib.contextmanager
def _interrupt_cancels(conversation: Conversation) -> Iterator[None]:
    """Make the first Ctrl-C end the answer and the second one the program."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        conversation.cancel()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _enable_line_editing() -> None:
    with contextlib.suppress(ImportError):  # Windows consoles edit lines themselves
        import readline  # noqa: F401 - importing it is what gives input() its keys
