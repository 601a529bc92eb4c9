"""Commands on a real pseudo-terminal; the conversation is in test_chat_terminal.py."""

import os
import sys

import pytest

pexpect = pytest.importorskip("pexpect")
pytestmark = pytest.mark.usefixtures("native_library")


@pytest.fixture
def terminal(phi4local_home):
    def start(*arguments, **env):
        child = pexpect.spawn(
            sys.executable,
            ["-m", "phi4local", *arguments],
            env={**os.environ, "TERM": "xterm-256color", **env},
            encoding="utf-8",
            dimensions=(24, 80),
            timeout=30,
        )
        started.append(child)
        return child

    started = []
    yield start
    for child in started:
        child.close(force=True)


def test_ctrl_c_during_run_exits_with_130(terminal):
    run = terminal(
        "run",
        "phi4-nano",
        "Tell me a story.",
        "--temperature",
        "3",
        "--top-k",
        "0",
        "--top-p",
        "1",
        "--min-p",
        "0",
    )
    run.expect("[a-zA-Z]")
    run.sendintr()
    run.expect(pexpect.EOF)
    run.wait()
    assert (run.exitstatus, run.signalstatus) == (130, None)


def test_commands_know_how_wide_the_terminal_is():
    ask = "import shutil; from phi4local.cli import output; output.prepare_streams(); "
    ask += "print(shutil.get_terminal_size())"
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with pexpect.spawn(sys.executable, ["-c", ask], dimensions=(24, 133), env=env, encoding="utf-8") as child:
        assert "columns=133" in child.read()
