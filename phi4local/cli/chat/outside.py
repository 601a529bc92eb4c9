"""Other programs of the person: the editor, the clipboard."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from phi4local.errors import InvalidSettingError

CLIPBOARDS = (
    ("pbcopy",),
    ("wl-copy",),
    ("xclip", "-selection", "clipboard"),
    ("xsel", "--clipboard", "--input"),
    ("clip.exe",),
)
"""Programs that take what they read into the clipboard: macOS, Wayland, X11 twice, Windows."""
CLIPBOARD_SECONDS = 5
TERMINAL_CLIPBOARD_BYTES = 70_000
"""Terminals take about 100,000 characters of base64 in one sequence."""


def edited(text: str) -> str:
    """Return `text` as the person leaves it in $VISUAL or $EDITOR.

    Raises:
        InvalidSettingError: no editor is set or found, or it fails.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    if not command:
        found = next((name for name in ("nano", "vi", "notepad") if shutil.which(name)), None)
        if found is None:
            raise InvalidSettingError("EDITOR", "is not set", hint="for example `export EDITOR=nano`")
        command = [found]
    handle, name = tempfile.mkstemp(prefix="phi4local-", suffix=".md")
    path = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        code = subprocess.run([*command, name], check=False).returncode  # noqa: S603 - the person's own editor
        if code:
            raise InvalidSettingError(
                "EDITOR", f"`{command[0]}` ended with code {code}", hint="try another one"
            )
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        hint = "set EDITOR to a program that is installed"
        raise InvalidSettingError("EDITOR", f"`{command[0]}` does not start: {problem}", hint=hint) from error
    finally:
        path.unlink(missing_ok=True)


def copy(text: str) -> str:
    """Put `text` into the clipboard, and return what took it.

    Without a program for it, the terminal is asked (OSC 52), which also works through ssh.

    Raises:
        InvalidSettingError: nothing here can.
    """
    for command in CLIPBOARDS:
        if not shutil.which(command[0]) or (
            command[0] in ("xclip", "xsel") and not os.environ.get("DISPLAY")
        ):
            continue
        try:
            done = subprocess.run(  # noqa: S603 - one of the names above
                command,
                input=text.encode(),
                check=False,
                timeout=CLIPBOARD_SECONDS,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command[0]
    data = text.encode()
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and len(data) <= TERMINAL_CLIPBOARD_BYTES:
        sys.stdout.write(f"\x1b]52;c;{base64.b64encode(data).decode()}\a")
        sys.stdout.flush()
        return "the terminal, if it allows that"
    raise InvalidSettingError(
        "clipboard", "is not there", hint="install wl-copy or xclip, or use `/export md FILE`"
    )
