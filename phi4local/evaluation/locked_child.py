"""The inside of `locked_program`: give away what can be given away, then run the program from standard input.

Started as a file of its own by an isolated Python; it imports nothing of phi4local.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys

TYPE_CHECKING = False  # the module that has it would be read at every start
if TYPE_CHECKING:
    import ctypes

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
    *("resource.", "sqlite3.", "syslog.", "mmap."),
)
_FORBIDDEN_MODULES = (
    *("ctypes", "_ctypes", "_posixsubprocess", "_winapi", "_sqlite3", "_dbm", "_gdbm", "readline"),
    *("_posixshmem", "_multiprocessing", "_curses"),
)
"""Written in C: they reach files and processes without asking the hook."""
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/nix/store")
"""What modules of Python's library are linked to."""
_DEVICES = (os.devnull, "/dev/urandom", "/dev/random", "/dev/zero")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    """Read the word, the time and the program; write the word when the program came to its end."""
    word, seconds, program = sys.stdin.buffer.read().decode("utf-8", "surrogatepass").split("\n", 2)
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    lock(float(seconds))
    sys.addaudithook(_Refusal())
    exec(compile(program, "program", "exec", dont_inherit=True), {})  # noqa: S102 - that is what it is for
    os.write(answer, word.encode())


def lock(seconds: float) -> None:
    """Have the operating system take away what it can: all but the hook."""
    if sys.platform == "linux":
        import ctypes

        library = ctypes.CDLL(None)
        new_user, new_network = 0x10000000, 0x40000000
        with contextlib.suppress(OSError, AttributeError):
            library.unshare(new_user | new_network)  # a network without any interface
        with contextlib.suppress(OSError, AttributeError):
            _leave_files(library)
        for name in [name for name in sys.modules if "ctypes" in name]:
            del sys.modules[name]  # the program would have to import it, which the hook refuses
    _limit(seconds)


def _leave_files(library: ctypes.CDLL) -> None:
    """Let only Python's library and the empty folder be read, nothing written, nobody signalled: Landlock.

    Source: https://docs.kernel.org/userspace-api/landlock.html; the numbers are those of linux/landlock.h.
    """
    create, add, restrict, no_new_privileges = 444, 445, 446, 38
    version = library.syscall(create, None, 0, 1)
    if version < 1:
        return
    files = 0x1FFF | (0x2000 if version > 1 else 0) | (0x4000 if version > 2 else 0)
    network, scopes = 0b11 if version > 3 else 0, 0b11 if version > 5 else 0
    attributes = struct.pack("=QQQ", files, network, scopes)
    size = 24 if version > 5 else 16 if version > 3 else 8
    rules = library.syscall(create, attributes, size, 0)
    read_file, read_folder = 0x4, 0x8
    for path in (*sys.path, os.getcwd(), sys.base_prefix + "/lib", *_LIBRARIES, *_DEVICES):  # noqa: PTH109
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            allowed = read_file | (read_folder if os.path.isdir(path) else 0)  # noqa: PTH112
            library.syscall(add, rules, 1, struct.pack("=Qi", allowed, descriptor), 0)
            os.close(descriptor)
    library.prctl(no_new_privileges, 1, 0, 0, 0)
    library.syscall(restrict, rules, 0)
    os.close(rules)


def _limit(seconds: float) -> None:
    if sys.platform == "win32":
        return
    import resource

    signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends a process that does not catch it
    for module in (signal, sys.modules["_signal"]):
        for name in ("signal", "setitimer", "alarm", "pthread_sigmask", "pidfd_send_signal"):
            if hasattr(module, name):
                delattr(module, name)  # Python asks no hook before these
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


class _Refusal:
    """The audit hook: what Python is about to do is refused by an error, or let through.

    Python's own library, the empty folder and some devices can be read, because imports must be possible.
    """

    def __init__(self) -> None:
        self._folders = tuple(os.path.realpath(path) + os.sep for path in (*sys.path, os.getcwd()))  # noqa: PTH109
        self._devices = _DEVICES

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event.startswith(_FORBIDDEN):
            raise PermissionError(event)
        if event == "import" and arguments[0] in _FORBIDDEN_MODULES:
            raise PermissionError(event)
        if event == "open":
            mode, flags = arguments[1], arguments[2]
            written = isinstance(mode, str) and any(letter in mode for letter in "wax+")
            if written or (isinstance(flags, int) and flags & _WRITING):
                raise PermissionError(event)
        if event in ("open", "os.listdir", "os.scandir"):
            self._require_readable(event, arguments[0])

    def _require_readable(self, event: str, path: object) -> None:
        """Let through: open descriptors, the working folder, which is `None`, and what the class says."""
        if path is None or isinstance(path, int):
            return
        if not isinstance(path, (str, bytes)):
            raise PermissionError(event)
        real = os.path.realpath(os.fsdecode(path))  # links are followed before the comparison
        if real not in self._devices and not (real + os.sep).startswith(self._folders):
            raise PermissionError(event)


if __name__ == "__main__":
    main()
