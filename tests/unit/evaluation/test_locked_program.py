"""What a program that a model wrote may do, and what not: real processes."""

import sys

import pytest

from phi4local.evaluation.locked_program import passes

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
