"""A conversation on a real pseudo-terminal."""

import os
import sys
import time

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


def test_a_conversation_with_statistics_and_a_goodbye(terminal):
    chat = terminal("chat", "phi4-nano")
    chat.expect("tokens of context, (all layers on the CPU|[0-9]+ of 9 layers on the GPU)")
    chat.expect(">>> ")
    chat.sendline("What is 3 plus 4?")
    chat.expect("3 plus 4 is 7.")
    chat.expect(r"9 tokens at [\d,.]+ tok/s")
    chat.expect(r"context \d+/2,048")
    chat.expect(">>> ")
    chat.sendline("/help")
    chat.expect("/new")
    chat.expect(">>> ")
    chat.sendline("/nonsense")
    chat.expect("no command /nonsense")
    chat.expect(">>> ")
    chat.sendline("/bye")
    chat.expect(pexpect.EOF)
    chat.wait()
    assert chat.exitstatus == 0


def test_ctrl_c_ends_an_answer_and_keeps_the_conversation(terminal):
    chat = terminal("chat", "phi4-nano", "--temperature", "2", "--top-k", "0", "--min-p", "0", "--top-p", "1")
    chat.expect(">>> ")
    chat.sendline("Tell me a long story.")
    time.sleep(0.15)
    chat.sendintr()
    chat.expect("tok/s")
    chat.expect(">>> ")
    chat.sendline("/bye")
    chat.expect(pexpect.EOF)
    chat.wait()
    assert chat.exitstatus == 0


def test_ctrl_d_leaves(terminal):
    chat = terminal("chat", "phi4-nano")
    chat.expect(">>> ")
    chat.sendeof()
    chat.expect(pexpect.EOF)
    chat.wait()
    assert chat.exitstatus == 0


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


def test_a_terminal_without_colours_gets_none(terminal):
    chat = terminal("chat", "phi4-nano", TERM="dumb", NO_COLOR="1")
    chat.expect(">>> ")
    chat.sendline("List three fruits.")
    chat.expect("tok/s")
    assert "\x1b[" not in chat.before.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "")


def test_commands_know_how_wide_the_terminal_is():
    ask = "import shutil; from phi4local.cli import output; output.prepare_streams(); "
    ask += "print(shutil.get_terminal_size())"
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with pexpect.spawn(sys.executable, ["-c", ask], dimensions=(24, 133), env=env, encoding="utf-8") as child:
        assert "columns=133" in child.read()
