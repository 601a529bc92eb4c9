"""The line that a person types into: history, several lines, search, completion, a status line below."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input.typeahead import get_typeahead, store_typeahead
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, create_output
from prompt_toolkit.output.vt100 import Vt100_Output

from phi4local.cli.chat.typed import TypedBefore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from prompt_toolkit.completion import Completer
    from prompt_toolkit.key_binding import KeyPressEvent
    from prompt_toolkit.output import Output

PROMPT, MORE = ">>> ", "... "
FOLDED_PASTE_LINES = 12
"""A paste of more lines is shown as one word, so that the question stays in sight."""
QUOTES = '"""'


class Editor:
    """Reads what a person says, on a terminal that can move its cursor.

    Args:
        history: file of what was typed before, made when it is not there; `None` keeps nothing.
        completer: what Tab offers.
        status: returns the line below the prompt.
        colour: whether styles are used.

    Raises:
        FileWriteError: the history cannot be kept.
    """

    def __init__(
        self, *, history: Path | None, completer: Completer, status: Callable[[], str], colour: bool
    ) -> None:
        self._pastes: dict[str, str] = {}
        self._pressed = False
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=MORE,
            history=TypedBefore(history, self._unfolded) if history else InMemoryHistory(),
            completer=completer,
            complete_while_typing=False,
            bottom_toolbar=status,
            key_bindings=self._keys(),
            enable_open_in_editor=True,
            enable_suspend=True,
            output=_output(),
            color_depth=None if colour else ColorDepth.DEPTH_1_BIT,
            reserve_space_for_menu=5,
        )

    def read(self, default: str = "") -> str:
        """Return what the person said, with pasted text in full.

        Raises:
            EOFError: Ctrl-D on an empty line.
            KeyboardInterrupt: Ctrl-C.
        """
        self._pressed = False
        signal.signal(signal.SIGINT, self._press)  # stays until the answer, or a command, has its own
        return finished(self._unfolded(self._session.prompt(default=default, handle_sigint=False)))

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        """Take Ctrl-C that came as a signal: while the editor begins or ends, or from another program."""
        app = self._session.app
        if app.is_running and not app.is_done and app.loop is not None:
            app.loop.call_soon_threadsafe(self._leave)
        else:
            self._pressed = True

    def _leave(self) -> None:
        if self._session.app.is_running and not self._session.app.is_done:
            self._session.app.exit(exception=KeyboardInterrupt())
        else:
            self._pressed = True

    def interrupted(self) -> bool:
        """Return whether Ctrl-C came right behind the question; other keys wait for the next `read`.

        The terminal was still the editor's when it came, so that no signal was made of it.
        """
        keys = get_typeahead(self._session.input)
        Vt100Parser(keys.append).feed_and_flush(waiting_text())
        store_typeahead(self._session.input, [key for key in keys if key.key != Keys.ControlC])
        return self._pressed or any(key.key == Keys.ControlC for key in keys)

    def _unfolded(self, text: str) -> str:
        for word, pasted in self._pastes.items():
            text = text.replace(word, pasted)
        return text

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter")
        def _enter(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if is_open(buffer.text):
                buffer.insert_text("\n")
            else:
                buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def _new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add(Keys.BracketedPaste)
        def _paste(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text(self._folded(event.data))

        return keys

    def _folded(self, pasted: str) -> str:
        text = pasted.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.count("\n") + 1
        if lines <= FOLDED_PASTE_LINES:
            return text
        word = f"[paste {len(self._pastes) + 1}: {lines:,} lines]"
        self._pastes[word] = text
        return word


class PlainEditor:
    """Reads lines on a terminal that is only a line printer."""

    def interrupted(self) -> bool:
        """Return no: Ctrl-C is always a signal here."""
        return False

    def read(self, default: str = "") -> str:  # noqa: ARG002 - nothing can be put into the line here
        """Return what the person said; see `Editor.read`."""
        text = _ask(PROMPT)
        while is_open(text):
            text += "\n" + _ask(MORE)
        return finished(text)


def waiting_text() -> str:
    """Return what was typed and nobody has read; the terminal must not wait for whole lines."""
    if sys.platform == "win32":
        return ""
    terminal = sys.stdin.fileno()
    data = b""
    while select.select([terminal], [], [], 0)[0] and (more := os.read(terminal, 1024)):
        data += more
    return data.decode(errors="replace")


def _ask(prompt: str) -> str:
    if sys.stdout.isatty():
        return input(prompt)
    sys.stderr.write(prompt)  # the answers go to a file: the prompt does not belong there
    sys.stderr.flush()
    return input()


def is_open(text: str) -> bool:
    r"""Return whether a line feed goes on with the text instead of sending it.

    Examples: `'\"\"\"one'` and `'one\\'` are open, `'\"\"\"one\"\"\"'` and `"one"` are not.
    """
    return (text.lstrip().startswith('"""') and text.count('"""') % 2 == 1) or _ends_open(text)


def _ends_open(text: str) -> bool:
    """Return whether the last line ends with a backslash that is not escaped by another one."""
    return (len(text) - len(text.rstrip("\\"))) % 2 == 1


def finished(text: str) -> str:
    r"""Return what a person meant: without the quotes around several lines and the backslashes at their ends.

    Examples: `'\"\"\"one\ntwo\"\"\"'` → `'one\ntwo'`; `'one\\\ntwo'` → `'one\ntwo'`.
    """
    stripped = text.strip()
    if len(stripped) >= 2 * len(QUOTES) and stripped.startswith(QUOTES) and stripped.endswith(QUOTES):
        return stripped[3:-3].strip("\n")
    return re.sub(r"(?<!\\)((?:\\\\)*)\\\n", r"\1\n", text).strip()


def _output() -> Output:
    """Return where the prompt is drawn; not into the file that takes the answers."""
    output = create_output(stdout=sys.stdout if sys.stdout.isatty() else sys.stderr)
    if isinstance(output, Vt100_Output):
        # Asking the terminal where the cursor is would mix its answer with what is typed ahead. The status
        # line needs a height: its own row below the prompt.
        output.enable_cpr = False
        output.get_rows_below_cursor_position = lambda: 2  # type: ignore[method-assign]
    return output
