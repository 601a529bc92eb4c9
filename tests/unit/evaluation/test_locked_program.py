"""What a program that a model wrote may do, and what not: real processes."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from phi4local.evaluation.locked_program import CHILD, passes

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="the operating system's limits are POSIX")


@pytest.mark.parametrize(
    "program",
    [
        "assert sorted([2, 1]) == [1, 2]",
        "import math, re, collections, itertools, hashlib, random, copy, string\nprint(math.pi)",
        "import sys\nsys.setrecursionlimit(5000)",
        "if __name__ == '__main__':\n    raise SystemError",
        "# \u00e4\ud83d\nx = 1".replace("\ud83d", "\U0001f600"),
    ],
)
def test_a_harmless_program_passes(program):
    assert passes(program, 3.0)


@pytest.mark.parametrize(
    "program",
    [
        "assert False",
        "def f(:",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "input()",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.fork()",
        "import ctypes",
        "open('written', 'w')",
        "import os; os.open('written', os.O_CREAT | os.O_WRONLY)",
        "import os; os.remove('nothing')",
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.socket()",
        "import phi4local",
        "import numpy",
        "import os; assert os.environ.get('HOME')",
        "import os; assert os.listdir()",
        f"open({__file__!r}).read()",
        f"open({__file__.encode()!r}, 'rb')",
        f"import pathlib; pathlib.Path({__file__!r}).read_text()",
        f"import os; os.open({__file__!r}, os.O_RDONLY)",
        "open('/proc/self/environ')",
        "import os; os.listdir('/')",
        "import os; os.scandir('..')",
        f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import conftest",
        "import sqlite3; sqlite3.connect('written')",
        "import os, resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
        "import os; os.kill(os.getppid(), 0)",
        pytest.param("import signal; signal.signal(signal.SIGALRM, signal.SIG_IGN)", marks=POSIX),
        pytest.param("import signal; signal.setitimer(signal.ITIMER_REAL, 0)", marks=POSIX),
        pytest.param("import _signal; _signal.alarm(0)", marks=POSIX),
    ],
)
def test_what_fails_or_reaches_out_does_not_pass(program):
    assert not passes(program, 3.0)


@POSIX
def test_endless_work_ends():
    assert not passes("while True: pass", 0.3)
    assert not passes("import time\ntime.sleep(60)", 0.3)


@POSIX
@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not limit memory so")
def test_memory_is_limited():
    assert passes("x = bytearray(2**24)", 3.0)
    assert not passes("x = bytearray(2**31)", 3.0)


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert passes("x = 1", 3.0)
    assert not list(tmp_path.iterdir())


def without_hook(program, folder, *, locked=True, seconds=5.0):
    """Run a program with what the operating system takes away, and let the hook alone."""
    lock = (
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('child', {str(CHILD)!r})\n"
        "child = importlib.util.module_from_spec(spec)\n"
        f"spec.loader.exec_module(child)\nchild.lock({seconds})\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", (lock if locked else "") + program],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def kernel():
    """Return what this machine's kernel lets a person take away from a process."""
    asked = (
        "import ctypes; library = ctypes.CDLL(None)\n"
        "print(library.syscall(444, None, 0, 1), library.unshare(0x50000000))"
    )
    if sys.platform != "linux":
        return -1, False
    done = subprocess.run([sys.executable, "-I", "-c", asked], capture_output=True, text=True, check=True)
    version, refused = map(int, done.stdout.split())
    return version, refused == 0


@pytest.fixture(scope="module")
def landlock():
    if kernel()[0] < 1:
        pytest.skip("this kernel has no Landlock")


@pytest.fixture(scope="module")
def namespaces():
    if not kernel()[1]:
        pytest.skip("nobody may make a namespace here")


@pytest.mark.parametrize(
    "program",
    [
        "open({outside!r}).read()",
        "open({outside!r}, 'w')",
        "open('written', 'w')",
        "import os; os.mknod('written')",
        "import os; os.remove({outside!r})",
        "import os; os.listdir('/')",
        "import os; os.execv('/bin/true', ['true'])",
    ],
)
def test_the_kernel_itself_refuses_files(program, landlock, tmp_path):
    (tmp_path / "in").mkdir()
    outside = tmp_path / "secret"
    outside.write_text("secret")
    done = without_hook(program.format(outside=str(outside)), tmp_path / "in")
    assert done.returncode == 1
    assert "PermissionError" in done.stderr
    assert "secret" not in done.stdout
    assert outside.read_text() == "secret"
    assert not list((tmp_path / "in").iterdir())


def test_python_s_own_library_can_still_be_read(landlock, tmp_path):
    program = "import hashlib, json, decimal, zlib, random; print(hashlib.md5(b'').hexdigest())"
    assert without_hook(program, tmp_path).stdout.strip() == "d41d8cd98f00b204e9800998ecf8427e"


def test_the_network_is_another_one(namespaces, tmp_path):
    """Datagrams, because Landlock knows connections only: it is the namespace that is without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        address = listening.getsockname()
        program = f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', {address!r})"
        assert without_hook(program, tmp_path, locked=False).returncode == 0
        assert listening.recv(9) == b"x"
        done = without_hook(program, tmp_path)
        assert "unreachable" in done.stderr
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.recv(9)


def test_a_server_of_this_machine_is_out_of_reach(namespaces, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"import socket; socket.create_connection({server.getsockname()!r}, 5)"
        assert without_hook(program, tmp_path, locked=False).returncode == 0
        server.accept()[0].close()
        assert without_hook(program, tmp_path).returncode == 1
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@POSIX
@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("import time; time.sleep(60)", ""),
        ("while True: pass", ""),
        pytest.param(
            "bytearray(2**31)",
            "MemoryError",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not limit memory so"),
        ),
        ("import os; [os.pipe() for _ in range(100)]", "Too many open files"),
    ],
)
def test_the_operating_system_ends_what_has_no_end(program, says, tmp_path):
    done = without_hook(program, tmp_path, seconds=0.3)
    assert done.returncode != 0
    assert says in done.stderr
