"""A child process whose pipes nobody ever waits for."""

from __future__ import annotations

import collections
import contextlib
import queue
import subprocess
import threading
from typing import IO, TYPE_CHECKING

from phi4local.engine.worker.process import child_command, child_environment
from phi4local.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

END_SECONDS = 2.0


class PipedProcess:
    """A module of this package in a child process: one thread writes to it, one keeps the end of its stderr.

    Args:
        module: its `main()` runs in the child.

    Attributes:
        popen: the process.
        replies: what it writes to standard output; the caller reads it.

    Raises:
        EngineError: the system starts no more processes.
    """

    def __init__(self, module: str) -> None:
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._stderr_lines: collections.deque[str] = collections.deque(maxlen=40)
        self.popen = _start_process(module)
        self.replies = _pipe(self.popen.stdout)
        self._threads = (start_thread(self._write), start_thread(self._read_stderr))

    def send(self, data: bytes) -> None:
        """Write `data` as soon as the child reads; return at once."""
        self._outbox.put(data)

    def last_line(self) -> str:
        """Return the last line that gives a reason, else the last one. An abort prints its reason last."""
        reasons = [line for line in self._stderr_lines if "ASSERT" in line or "rror" in line]
        return (reasons or list(self._stderr_lines) or [""])[-1][:300]

    def end(self) -> None:
        """End the child, whatever it does, within `END_SECONDS`: by the end of its input, else by force."""
        self._outbox.put(None)
        try:
            self.popen.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()

    def clean_up(self) -> None:
        """End the child and leave nothing of it: no process, thread or pipe. For the reader of `replies`."""
        self.end()
        for thread in self._threads:
            thread.join()
        self.replies.close()
        _pipe(self.popen.stderr).close()

    def _write(self) -> None:
        stream = _pipe(self.popen.stdin)
        while (data := self._outbox.get()) is not None:
            # A dead child is noticed by the reader of its replies, which tells everybody who waits.
            with contextlib.suppress(OSError):
                stream.write(data)
                stream.flush()
        with contextlib.suppress(OSError):
            stream.close()

    def _read_stderr(self) -> None:
        for line in _pipe(self.popen.stderr):
            text = line.decode("utf-8", "replace").strip()
            if text:
                self._stderr_lines.append(text)


def _start_process(module: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and module
            child_command(module),
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise EngineError(
            f"the engine process does not start: {error.strerror or error}",
            hint="the machine may be out of memory or processes: close other programs",
        ) from error


def start_thread(run: Callable[[], None]) -> threading.Thread:
    """Start a thread that does not keep the program from ending."""
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise RuntimeError("the child was started with pipes")
    return stream
