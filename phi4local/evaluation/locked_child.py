"""The inside of `locked_program`: give away what can be given away, then run the program from standard input.

Started as a file of its own by an isolated Python; it imports nothing of phi4local.
"""

import contextlib
import os
import signal
import sys

MEMORY_BYTES = 2**30
FILE_BYTES = 2**20
OPEN_FILES = 32
_FORBIDDEN = (
    *(
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.kill",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.system",
    ),
    *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chdir"),
    *("os.chmod", "os.chown", "os.chflags", "os.utime", "os.setxattr", "os.removexattr", "os.putenv"),
    *("shutil.", "subprocess.", "socket.", "ctypes.", "pty.", "webbrowser."),
    *("ftplib.", "http.", "smtplib.", "telnetlib.", "urllib.", "winreg.", "msvcrt.", "_winapi.", "fcntl."),
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Read the word, the time and the program; write the word when the program came to its end."""
    word, seconds, program = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").split("\n", 2)
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    _leave_network()
    _limit(float(seconds))
    sys.addaudithook(_refuse)
    exec(compile(program, "program", "exec", dont_inherit=True), {})  # noqa: S102 - that is what it is for
    os.write(answer, word.encode())


def _leave_network() -> None:
    """Move into a network namespace without any interface, where Linux lets a person do so."""
    if sys.platform != "linux":
        return
    import ctypes

    new_user, new_network = 0x10000000, 0x40000000
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).unshare(new_user | new_network)
    for name in [name for name in sys.modules if "ctypes" in name]:
        del sys.modules[name]  # the program would have to import it, which the hook refuses


def _limit(seconds: float) -> None:
    if sys.platform == "win32":
        return
    import resource

    signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends a process that does not catch it
    whole = int(seconds) + 1
    limits = {
        "RLIMIT_CPU": whole,
        "RLIMIT_AS": MEMORY_BYTES,
        "RLIMIT_FSIZE": FILE_BYTES,
        "RLIMIT_NOFILE": OPEN_FILES,
        "RLIMIT_NPROC": 0,
        "RLIMIT_CORE": 0,
    }
    for name, most in limits.items():
        # macOS refuses some of them.
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (most, most))


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event.startswith(_FORBIDDEN):
        raise PermissionError(event)
    if event == "import" and arguments[0] in ("ctypes", "_ctypes", "_posixsubprocess", "_winapi"):
        raise PermissionError(event)
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        written = isinstance(mode, str) and any(letter in mode for letter in "wax+")
        if written or (isinstance(flags, int) and flags & _WRITING):
            raise PermissionError(event)


if __name__ == "__main__":
    main()
