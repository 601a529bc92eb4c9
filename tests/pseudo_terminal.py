"""A program on a real pseudo-terminal, and the screen that a person would see."""

import os
import sys
import time

import pexpect
import pyte

WAIT_SECONDS = 20


class Terminal:
    """`phi4local ARGUMENTS`, or another program, with its screen and what scrolled out of it."""

    def __init__(self, *arguments, rows=24, columns=80, env=None, home=None, program=None):
        merged = {**os.environ, "TERM": "xterm-256color", "PYTHONFAULTHANDLER": "", **(env or {})}
        if home is not None:
            merged["PHI4LOCAL_HOME"] = str(home)
        command, *rest = program or (sys.executable, "-m", "phi4local", *arguments)
        self.child = pexpect.spawn(
            command,
            rest,
            env={name: value for name, value in merged.items() if value is not None},
            dimensions=(rows, columns),
            timeout=WAIT_SECONDS,
        )
        self.child.delaybeforesend = None
        self.screen = pyte.HistoryScreen(columns, rows, history=20_000, ratio=0.0001)
        self._stream = pyte.ByteStream(self.screen)
        self.sent = b""

    def read(self, seconds=0.05):
        """Take what the program wrote within some time; return whether it still may write more."""
        try:
            data = self.child.read_nonblocking(1 << 16, seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.sent += data
        self._stream.feed(data)
        return True

    @property
    def lines(self):
        """Every line so far, without spaces at the end."""
        above = [
            "".join(row[column].data for column in range(self.screen.columns)).rstrip()
            for row in self.screen.history.top
        ]
        return above + [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        """All lines as one text."""
        return "\n".join(self.lines).rstrip()

    @property
    def words(self):
        """All lines as one, wherever they were broken."""
        return " ".join(self.text.split())

    def wait_for(self, text, *, times=1):
        """Read until the text is there so many times."""
        end = time.monotonic() + WAIT_SECONDS
        while self.words.count(text) < times:
            alive = self.read()
            if self.words.count(text) >= times:
                break
            if not alive or time.monotonic() > end:
                raise AssertionError(f"{text!r} did not come {times} times; the screen:\n{self.text}")

    def wait_for_bytes(self, data, start=0):
        """Read until these bytes came, and return where they end."""
        end = time.monotonic() + WAIT_SECONDS
        while (place := self.sent.find(data, start)) < 0:
            if not self.read() or time.monotonic() > end:
                raise AssertionError(f"{data!r} did not come; the screen:\n{self.text}")
        return place + len(data)

    def wait_for_prompt(self):
        """Read until an empty prompt waits at the end of the screen, the status line below it."""
        end = time.monotonic() + WAIT_SECONDS
        while not self.at_prompt():
            if not self.read() or time.monotonic() > end:
                raise AssertionError(f"no prompt came; the screen:\n{self.text}")

    def at_prompt(self):
        """Whether the cursor stands behind an empty prompt."""
        line = self.screen.display[self.screen.cursor.y]
        return line.rstrip() == ">>>" and self.screen.cursor.x == len(">>> ") and not self._hidden()

    def _hidden(self):
        return self.screen.cursor.hidden

    def type(self, text):
        """Type a line and Enter."""
        self.child.send(text + "\r")

    def resize(self, rows, columns):
        """Change the size, as dragging the corner of a window does."""
        self.child.setwinsize(rows, columns)
        self.screen.resize(rows, columns)

    def finish(self):
        """Read to the end, and return the exit code."""
        end = time.monotonic() + WAIT_SECONDS
        while self.read():
            if time.monotonic() > end:
                raise AssertionError(f"the program does not end; the screen:\n{self.text}")
        self.child.wait()
        return self.child.exitstatus

    def close(self):
        """End the program, whatever it does."""
        self.child.close(force=True)
