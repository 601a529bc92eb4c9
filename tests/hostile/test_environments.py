"""The command in places that nobody had in mind: the same answer, or one error line, and no traceback.

Each case is a real process. By default some come as one bundle; all of them one by one with `--full`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

PYTHON_PATH = {"PYTHONPATH": str(CHECKOUT)}
COMMAND = ["run", "phi4-nano", "Say: häß 🦊", "--temperature", "0", "--max-tokens", "8"]
DEAD = "http://127.0.0.1:9"

# A variable that is None is taken out.
VARIABLES: dict[str, dict[str, str | None]] = {
    "no HOME": {"HOME": None},
    "HOME is nowhere": {"HOME": "/nonexistent"},
    "HOME is a file": {"HOME": "/etc/passwd"},
    "HOME is empty": {"HOME": ""},
    "C locale": {"LANG": "C", "LC_ALL": "C"},
    "POSIX locale": {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
    "unknown locale": {"LC_ALL": "xx_YY.ISO-8859-77"},
    "no locale": {"LANG": None, "LC_ALL": None, "LC_CTYPE": None},
    "dumb terminal": {"TERM": "dumb"},
    "no terminal type": {"TERM": None},
    "unknown terminal type": {"TERM": "wyse-9000"},
    "one column": {"COLUMNS": "1", "LINES": "1"},
    "no columns": {"COLUMNS": "0"},
    "columns are no number": {"COLUMNS": "wide"},
    "no colours": {"NO_COLOR": "1"},
    "colours anyway": {"FORCE_COLOR": "1"},
    "dead proxies": dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"), DEAD),
    "proxy that is none": {"HTTPS_PROXY": "::::"},
    "temporary folder is nowhere": {"TMPDIR": "/nonexistent"},
    "XDG folders are nowhere": {f"XDG_{name}_HOME": "/nonexistent" for name in ("CACHE", "CONFIG", "DATA")},
    "no PATH": {"PATH": ""},
    "warnings are shown": {"PYTHONWARNINGS": "always"},
    "optimized": {"PYTHONOPTIMIZE": "2"},
    "no bytecode": {"PYTHONDONTWRITEBYTECODE": "1"},
    "development mode": {"PYTHONDEVMODE": "1"},
    "unbuffered": {"PYTHONUNBUFFERED": "1"},
    "one thread": {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    "no threads": {"OMP_NUM_THREADS": "0"},
    "threads are no number": {"OMP_NUM_THREADS": "many"},
    "no GPU is visible": {"CUDA_VISIBLE_DEVICES": "", "GGML_VK_VISIBLE_DEVICES": ""},
    "odd time zone": {"TZ": "Nowhere/Land"},
    "offline": {"HF_HUB_OFFLINE": "1", "PHI4LOCAL_OFFLINE": "1"},
    "a token that is none": {"HF_TOKEN": "not a token\n"},
    "thousands of variables": {f"PHI_{number}": "x" * 50 for number in range(2000)},
    "a variable that is no UTF-8": {"SOMETHING": "\udcff\udcfe"},
    "an empty variable": {"SOMETHING": ""},
    "debugging": {"PHI4LOCAL_DEBUG": ""},
}
BUNDLE = (
    *("no HOME", "POSIX locale", "dumb terminal", "one column", "no PATH", "odd time zone", "dead proxies"),
    *("temporary folder is nowhere", "XDG folders are nowhere", "thousands of variables"),
    "a variable that is no UTF-8",
)


def limit_files() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def one_processor() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def limit_stack() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_STACK, (2**20, 2**20))


PREPARED: dict[str, Any] = {
    "64 descriptors": limit_files,
    "one processor": one_processor,
    "small stack": limit_stack,
    "umask 077": lambda: os.umask(0o077),
    "umask 0": lambda: os.umask(0),
    "umask 777": lambda: os.umask(0o777),
    "no stdin": lambda: os.close(0),
    "no stderr": lambda: os.close(2),
    "a session of its own": os.setsid,
}
FOLDERS = (
    "with spaces",
    "emoji 🦊",
    "new\nline",
    "-dash",
    "\x1b[31mred",
    "a" * 200,
    "phi4-nano",
    "%s{0}$(id)",
)


def answer(
    variables: dict[str, str | None] | None = None, cwd: Path | None = None, prepare: Any = None
) -> str:
    """Run the command; return its answer, and fail on anything but an answer."""
    merged = {**os.environ, **PYTHON_PATH, **(variables or {})}
    done = subprocess.run(
        [sys.executable, "-m", "phi4local", *COMMAND],
        env={name: value for name, value in merged.items() if value is not None},
        cwd=cwd,
        preexec_fn=prepare,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    assert "Traceback" not in said
    assert done.returncode == 0, said
    return done.stdout.decode("utf-8")


@pytest.fixture(scope="module")
def usual(native_library) -> str:
    if sys.platform == "win32":
        pytest.skip("the cases are those of POSIX")
    return answer()


def test_a_bundle_of_odd_variables_changes_no_answer(usual: str):
    together: dict[str, str | None] = {}
    for name in BUNDLE:
        together |= VARIABLES[name]
    assert answer(together) == usual


@pytest.mark.full
@pytest.mark.parametrize("name", VARIABLES)
def test_an_odd_variable_changes_no_answer(name: str, usual: str):
    assert answer(VARIABLES[name]) == usual


@pytest.mark.full
@pytest.mark.parametrize("name", PREPARED)
def test_an_odd_process_changes_no_answer(name: str, usual: str):
    assert answer(prepare=PREPARED[name]) == usual


@pytest.mark.full
@pytest.mark.parametrize("name", FOLDERS)
def test_an_odd_folder_changes_no_answer(name: str, usual: str, tmp_path: Path):
    folder = tmp_path / name
    folder.mkdir()
    assert answer(cwd=folder) == usual
    assert list(folder.iterdir()) == []


@pytest.mark.full
@pytest.mark.parametrize("name", FOLDERS)
def test_a_home_with_an_odd_name_works(name: str, usual: str, tmp_path: Path):
    assert answer({"PHI4LOCAL_HOME": str(tmp_path / name)}) == usual


def test_few_descriptors_and_a_folder_that_is_gone_change_no_answer(usual: str, tmp_path: Path):
    gone = tmp_path / "gone"
    gone.mkdir()

    def prepare() -> None:
        limit_files()
        gone.rmdir()

    assert answer(cwd=gone, prepare=prepare) == usual


@pytest.mark.full
def test_a_person_who_turned_utf8_off_gets_an_answer_and_no_traceback(usual: str):
    assert answer({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
