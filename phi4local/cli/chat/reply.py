"""An answer on the terminal, as it comes; Ctrl-C ends it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from typing import TYPE_CHECKING

from phi4local.assistant.thinking import Thought
from phi4local.cli import render
from phi4local.cli.stream import REASONS, print_answer, statistics, tell
from phi4local.cli.thoughts import Thoughts
from phi4local.engine import Finished, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import TextIO

    from phi4local.assistant.conversation import Conversation
    from phi4local.assistant.events import ConversationEvent
    from phi4local.cli.chat.state import ThinkMode, View


_SAMPLE = "# A **b** `c` é\n\n| 漢 | 🦊 |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```\n"
"""Of everything whose first time takes long: emphasis, wide characters, a table, code in colours."""


@contextlib.contextmanager
def interruptible(conversation: Conversation, pressed: Callable[[], bool]) -> Iterator[None]:
    """Make the first Ctrl-C end the answer and the second one the program; keys stay off the screen.

    Args:
        conversation: whose answer it is.
        pressed: returns whether Ctrl-C was typed before the terminal made a signal of it.
    """
    with _interrupt_cancels(conversation), quiet_keys():
        if pressed():
            conversation.cancel()
        yield


def show(events: Iterator[ConversationEvent], view: View) -> Finished:
    """Write an answer to stdout as it comes, and return its end.

    Raises:
        Phi4LocalError: the engine failed.
        KeyboardInterrupt: Ctrl-C came twice.
    """
    if view.raw or not is_screen(sys.stdout):
        return print_answer(events)
    return draw(events, view.think)


def is_screen(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def has_colour() -> bool:
    """Return whether styles are wanted and possible on stdout."""
    return is_screen(sys.stdout) and not os.environ.get("NO_COLOR")


def columns() -> int:
    """Return the cells of a line now."""
    return shutil.get_terminal_size().columns


def warm_up() -> None:
    """Load what draws answers while the person types: it takes longer than a first token."""
    from phi4local.cli.chat.markdown.stream import MarkdownStream

    drawn = MarkdownStream(columns=columns, colour=True)
    drawn.feed(_SAMPLE)
    drawn.finish()


def draw(events: Iterator[ConversationEvent], think: ThinkMode = "hide") -> Finished:
    """Write an answer to a terminal as drawn markdown, and return its end.

    Args:
        events: of the answer.
        think: what is shown of thoughts among them.

    Raises:
        Phi4LocalError: the engine failed.
    """
    from phi4local.cli.chat.markdown.stream import MarkdownStream

    drawn = MarkdownStream(
        columns=columns, colour=has_colour(), rows=lambda: shutil.get_terminal_size().lines
    )
    thoughts = Thoughts(think, columns=columns, colour=has_colour())
    began = False
    try:
        for event in events:
            if isinstance(event, Finished):
                began = True
                return event
            if isinstance(event, Thought):
                _write(thoughts.feed(event.delta))
            elif not isinstance(event, Text):
                tell(event)
            elif event.delta:
                began = True
                _write(_ended(thoughts, think) + drawn.feed(event.delta))
    finally:
        if began:  # also when the engine failed: the error gets a line of its own
            _write(_ended(thoughts, think) + drawn.finish() + "\n")
    raise RuntimeError("an answer ended without its last event")


def _ended(thoughts: Thoughts, think: ThinkMode) -> str:
    """Return what ends thoughts, with a blank line below them where they are shown."""
    end = thoughts.finish()
    return f"{end}\n" if end and think == "show" else end


def _write(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()


def below(finished: Finished, view: View, context_tokens: int) -> None:
    """Say what an answer took: nothing, a line, or everything that is known, as the view says."""
    if view.verbosity == "quiet":
        if finished.reason != "stop":
            render.dim_notice(REASONS[finished.reason])
        return
    used = finished.usage.prompt_tokens + finished.usage.generated_tokens
    limit = f"/{context_tokens:,}" if context_tokens else ""
    render.dim_notice(f"{statistics(finished)}, context {used:,}{limit}")
    if view.verbosity == "verbose":
        times = finished.timings
        first, queued, choosing = (
            f"{seconds * 1000:,.0f} ms"
            for seconds in (times.prompt_seconds, times.queued_seconds, times.sampling_seconds)
        )
        render.dim_notice(
            f"first token after {first}, queued {queued}, {times.generation_seconds:.2f} s of writing, "
            f"{choosing} of it choosing tokens"
        )


@contextlib.contextmanager
def _interrupt_cancels(conversation: Conversation) -> Iterator[None]:
    """Make the first Ctrl-C end the answer and the second one the program."""

    def cancel(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        conversation.cancel()

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def quiet_keys() -> Iterator[None]:
    """Keep what is typed while an answer comes off the screen; the next prompt gets it.

    After Ctrl-Z and back the terminal echoes again, because the shell was there in between.
    """
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    terminal = sys.stdin.fileno()

    def silence(*_: object) -> None:
        mode = termios.tcgetattr(terminal)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(terminal, termios.TCSANOW, mode)

    try:
        before = termios.tcgetattr(terminal)
    except termios.error:  # input is no terminal
        yield
        return
    resumed = signal.signal(signal.SIGCONT, silence)
    try:
        silence()
        yield
    finally:
        signal.signal(signal.SIGCONT, resumed)
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(terminal, termios.TCSANOW, before)
