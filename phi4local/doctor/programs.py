"""Other programs, asked for a bounded time: drivers and broken libraries hang."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_END_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a program left behind; `code` is `None` when its time was over, negative for a signal."""

    code: int | None
    stdout: str
    stderr: str

    def ending(self) -> str:
        """Say how it ended. Examples: "hangs", "is ended by SIGSEGV", "ends with code 1"."""
        if self.code is None:
            return "hangs"
        if self.code < 0:
            with contextlib.suppress(ValueError):
                return f"is ended by {signal.Signals(-self.code).name}"
        return f"ends with code {self.code}"


def run(command: Sequence[str], seconds: float, *, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a program, without input, and kill it when its time is over.

    A process that hangs in a driver cannot be killed; it is left alone then.

    Raises:
        OSError: it does not start.
    """
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, or a driver's tool
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ if environment is None else environment),
    )
    code: int | None = None
    try:
        out, err = process.communicate(timeout=seconds)
        code = process.returncode
    except subprocess.TimeoutExpired as late:
        out, err = late.stdout or b"", late.stderr or b""
    finally:
        if process.poll() is None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    return Ran(code=code, stdout=out.decode("utf-8", "replace"), stderr=err.decode("utf-8", "replace"))


def last_line(text: str) -> str:
    """Return the last line that is not empty, at most 200 characters of it."""
    return next((line.strip()[:200] for line in reversed(text.splitlines()) if line.strip()), "")


def unset_command(variable: str) -> str:
    """Return what to type to take a variable out of the environment. Example: `unset HF_ENDPOINT`."""
    return f"set {variable}=" if sys.platform == "win32" else f"unset {variable}"


def build_command(cmake_args: str | None = None, *, force: bool = False) -> str:
    """Return what to type to build llama-cpp-python for the Python that runs this.

    Args:
        cmake_args: for a GPU, such as `-DGGML_CUDA=on`; `None` keeps what the last build was made with.
        force: compile even if a build for this machine is there.

    Example: `CMAKE_ARGS=-DGGML_CUDA=on /home/me/.venv/bin/python -m phi4local.native.build`.
    """
    words = [sys.executable, "-m", "phi4local.native.build", *(["--force"] if force else [])]
    if sys.platform == "win32":
        line = subprocess.list2cmdline(words)
        return line if cmake_args is None else f'cmd /c "set CMAKE_ARGS={cmake_args}&& {line}"'
    line = shlex.join(words)
    return line if cmake_args is None else f"CMAKE_ARGS={shlex.quote(cmake_args)} {line}"
