"""The terminal conversation as a person has it: keys, commands, interruptions, a closed window."""

import json
import os
import shutil
import signal
import sys
import time

import pytest

pytest.importorskip("pexpect", reason="pseudo-terminals are POSIX")
pytest.importorskip("pyte")

from tests.pseudo_terminal import Terminal

pytestmark = [
    pytest.mark.usefixtures("native_library"),
    pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX"),
]
ENDLESS = ("--temperature", "0.7", "--seed", "1", "--sampling", 'logit_bias={"8105": -100, "8097": -100}')
"""Answers that go on until the context is full: the two end tokens of phi4-nano are forbidden."""
PASTE = "\x1b[200~{}\x1b[201~"


@pytest.fixture(scope="module")
def _converted(run_cli):
    """The embedded model, converted before a terminal waits for it."""
    assert run_cli(["show", "phi4-nano"]).returncode == 0


@pytest.fixture
def chat(tmp_path, phi4local_home, _converted):
    """Start `phi4local chat phi4-nano …`."""
    (tmp_path / "models").symlink_to(phi4local_home / "models")

    def start(*options, **settings):
        terminal = Terminal("chat", "phi4-nano", "--threads", "1", *options, home=tmp_path, **settings)
        started.append(terminal)
        terminal.wait_for_prompt()
        return terminal

    started = []
    yield start
    for terminal in started:
        terminal.close()


def say(terminal, text, expected):
    """Type something, wait for what it brings and for the prompt."""
    before = terminal.words.count(expected)
    terminal.type(text)
    terminal.wait_for(expected, times=before + 1 + text.count(expected))
    terminal.wait_for_prompt()


def begin_reply(terminal):
    """Ask for a story and wait for its first words; return how many bytes had come before."""
    begun = len(terminal.sent)
    terminal.type("Tell me a long story.")
    while len(terminal.sent) < begun + 200:
        assert terminal.read(), terminal.text
    return begun


def test_the_first_screen_and_one_turn(chat):
    terminal = chat()
    assert "You talk with an AI. It may be wrong" in terminal.text
    assert "2,048 tokens of context, all layers on the CPU" in terminal.text
    assert "░░░░░░░░░░ 0/2,048" in terminal.lines[-1] or "0/2,048" in terminal.text
    say(terminal, "What is 3 plus 4?", "3 plus 4 is 7.")
    terminal.wait_for("24/2,048 · ")  # the status line
    terminal.type("/exit")
    assert terminal.finish() == 0


def test_every_command(chat, tmp_path):
    notes, schema = tmp_path / "notes.md", tmp_path / "colour.json"
    notes.write_text("The fox is called Pip.\n")
    schema.write_text('{"type": "string", "enum": ["red", "blue"]}')
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "What is 2 plus 2?" > "$1"\n')
    editor.chmod(0o755)
    env = {"EDITOR": str(editor), "VISUAL": None, "PATH": "/bin:/usr/bin", "DISPLAY": None}
    terminal = chat(rows=50, columns=120, env=env)  # wide: a folder's name that is broken is not found
    say(terminal, "/help", "Ctrl-R searches")
    say(terminal, "/undo", "nothing was asked yet")
    say(terminal, "/retyr", "did you mean /retry?")
    say(terminal, "What is 3 plus 4?", "3 plus 4 is 7.")
    say(terminal, "/retry seed=7", "3 plus 4 is 7.")
    say(terminal, "/push", "1 place remembered")
    say(terminal, "/edit", "2 plus 2 is 4.")
    say(terminal, "/undo", "taken back: What is 2 plus 2?")
    say(terminal, "What is 3 plus 4?", "3 plus 4 is 7.")
    say(terminal, "/system You are kind.", "instruction: You are kind.")
    say(terminal, "/system off", "instruction: none")
    say(terminal, "/set temperature 0.5", "temperature is 0.5")
    say(terminal, "/set max_tokens 50", "max_tokens is 50")
    say(terminal, "/set", "max_tokens 50")
    say(terminal, "/set tempreature 1", "setting `tempreature` does not exist")
    say(terminal, "/set temperature 900", "must be between 0 and 100")
    say(terminal, "/set max_tokens off", "as the model wants it")
    say(terminal, f"/json {schema}", "answers are JSON of this schema")
    say(terminal, "Which colour?", "tok/s")
    assert '"red"' in terminal.text or '"blue"' in terminal.text
    say(terminal, "/json off", "answers are text")
    say(terminal, "/think on", "thoughts: show")
    say(terminal, "/think hide", "thoughts: hide")
    say(terminal, "/verbose", "everything that is known")
    say(terminal, "Hello", "first token after")
    say(terminal, "/quiet", "nothing below answers")
    say(terminal, "/raw", "answers come as they are")
    say(terminal, "/stats", "the engine took")
    say(terminal, "/context", "are free for the next question")
    say(terminal, "/show", "chat template")
    say(terminal, "/model", "phi4-nano, 11.2 MB")
    say(terminal, "/model phi-4-nothing", "hint:")
    say(terminal, "/model phi4-nano", "phi4-nano, 11.2 MB")
    say(terminal, "/adapter", "adapters: none")
    say(terminal, f"/adapter {notes}", "error:")
    say(terminal, "/bench", "phi4local bench` measures")
    say(terminal, f"/read {notes}", "goes along with the next question")
    say(terminal, f"/glob {tmp_path}/*.md", "goes along with the next question")
    say(terminal, f"/read {tmp_path}/absent", "error:")
    say(terminal, f"/read {tmp_path}/models", "error:")
    say(terminal, f"Who is in @{notes}?", "1 line, ")
    say(terminal, "/save the trip", "this session is called the trip")
    say(terminal, "/good", "kept as good")
    say(terminal, "/bad too short", "kept as bad")
    say(terminal, "/fork", "turns")
    say(terminal, "/sessions", "the trip")
    say(terminal, "/sessions plus", "3 plus 4")
    say(terminal, "/load the trip", "the trip:")
    for kind in ("md", "json", "html"):
        say(terminal, f"/export {kind} {tmp_path}/talk.{kind}", f"talk.{kind}")
        assert "What is 3 plus 4?" in (tmp_path / f"talk.{kind}").read_text(encoding="utf-8")
    say(terminal, f"/export md {tmp_path}/talk.md", "it exists")
    say(terminal, "/copy", "characters went to")
    say(terminal, "/copy code", "no block of code")
    say(terminal, "/pop", "error:")
    say(terminal, "/clear", "a new conversation")
    terminal.type("/bye")
    assert terminal.finish() == 0
    ratings = [json.loads(line) for line in (tmp_path / "feedback.jsonl").read_text().splitlines()]
    assert [(rating["rating"], rating["note"]) for rating in ratings] == [
        ("good", None),
        ("bad", "too short"),
    ]


def test_a_paste_of_five_thousand_lines_is_one_question(chat):
    terminal = chat("--context", "512")
    terminal.child.send(PASTE.format("\r".join(f"line {number}" for number in range(5000))))
    terminal.wait_for("[paste 1: 5,000 lines]")
    terminal.type("")
    terminal.wait_for("error: the prompt has")
    terminal.wait_for_prompt()
    say(terminal, "What is 3 plus 4?", "3 plus 4 is 7.")


def test_a_full_context_asks_what_shall_go(chat):
    terminal = chat("--context", "160", "--max-tokens", "60")
    for place in range(4):
        terminal.type(f"Tell me story number {place} about a fox and a river.")
        terminal.wait_for_bytes(f"number {place}".encode())
        while not terminal.at_prompt() and "What shall go?" not in terminal.words:
            assert terminal.read(), terminal.text
        if "What shall go?" in terminal.words:
            break
    terminal.wait_for(">>> drop")
    terminal.type("")
    terminal.wait_for("from now on: drop")
    terminal.wait_for("dropped")
    terminal.wait_for_prompt()
    say(terminal, "/context", "when it is full: drop")


def test_several_lines_arrive_as_typed(chat, tmp_path):
    terminal = chat()
    terminal.child.send('"""What is\r3 plus 4?"""\r')
    terminal.wait_for("tok/s")
    terminal.wait_for_prompt()
    say(terminal, f"/export md {tmp_path}/talk.md", "written: ")
    assert "What is\n3 plus 4?" in (tmp_path / "talk.md").read_text(encoding="utf-8")


def test_another_size_in_the_middle_of_an_answer(chat):
    terminal = chat(*ENDLESS)
    begin_reply(terminal)
    for rows, columns in ((40, 200), (10, 40), (24, 80)):
        terminal.resize(rows, columns)
        for _ in range(5):
            terminal.read()
    terminal.child.sendintr()
    terminal.wait_for("interrupted")
    terminal.wait_for_prompt()
    terminal.type("/exit")
    assert terminal.finish() == 0


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param(6, id="6-moments"),
        pytest.param(40, id="40-moments", marks=pytest.mark.full),
    ],
)
def test_ctrl_c_at_any_moment_keeps_the_reply_so_far_and_gives_the_prompt_back(chat, tmp_path, moments):
    terminal = chat(*ENDLESS, rows=30)
    for moment in range(moments):
        begun = len(terminal.sent)
        terminal.type(f"Tell me story number {moment}.")
        wanted = begun + 40 * moment  # from before the editor is gone on
        while len(terminal.sent) < wanted:
            assert terminal.read(), terminal.text
        terminal.child.sendintr()
        terminal.wait_for_bytes(b"interrupted", begun)
        terminal.wait_for_prompt()
        terminal.type("/clear")
        terminal.wait_for_bytes(b"a new conversation", begun)
        terminal.wait_for_prompt()
    begun = begin_reply(terminal)
    terminal.child.sendintr()
    terminal.wait_for_bytes(b"interrupted", begun)
    terminal.wait_for_prompt()
    say(terminal, f"/export json {tmp_path}/kept.json", "written: ")
    kept = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    answer = kept["messages"][-1]
    assert (answer["role"], len(answer["content"]) > 20) == ("assistant", True)


def test_ctrl_c_at_the_prompt_clears_the_line_and_twice_leaves(chat):
    terminal = chat()
    terminal.child.send("half a question")
    terminal.wait_for("half a question")
    terminal.child.send("\x03")
    terminal.wait_for("Ctrl-C again or Ctrl-D leaves")
    terminal.wait_for_prompt()
    terminal.child.send("\x03")
    assert terminal.finish() == 130


def test_ctrl_c_twice_in_an_answer_leaves(chat):
    terminal = chat(*ENDLESS)
    begin_reply(terminal)
    os.kill(terminal.child.pid, signal.SIGSTOP)  # so that both are there before either is handled
    terminal.child.sendintr()
    os.kill(terminal.child.pid, signal.SIGCONT)
    terminal.wait_for_bytes(b"tok/s")
    terminal.wait_for_prompt()
    terminal.child.send("\x03\x03")
    assert terminal.finish() == 130


def test_ctrl_d_leaves(chat):
    terminal = chat()
    terminal.child.send("\x04")
    assert terminal.finish() == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="a shell with jobs is needed")
@pytest.mark.usefixtures("_converted")
def test_ctrl_z_and_back_in_an_answer_and_at_the_prompt(tmp_path, phi4local_home):
    (tmp_path / "models").symlink_to(phi4local_home / "models")
    shell = Terminal(home=tmp_path, program=("bash", "--norc", "--noprofile", "-i"), env={"PS1": "shell$ "})
    try:
        shell.wait_for("shell$")
        options = " ".join(f"'{word}'" for word in (*ENDLESS, "--threads", "1", "--max-tokens", "400"))
        shell.type(f"{sys.executable} -m phi4local chat phi4-nano {options}")
        shell.wait_for_prompt()
        for place in ("at the prompt", "in an answer"):
            if place == "in an answer":
                begin_reply(shell)
            begun = len(shell.sent)
            shell.child.send("\x1a")
            shell.wait_for_bytes(b"Stopped", begun)
            shell.wait_for_bytes(b"shell$ ", begun)
            shell.type("fg")
            if place == "at the prompt":
                shell.wait_for_prompt()
        shell.wait_for("tok/s")
        shell.wait_for_prompt()
        say(shell, "/stats", "1 answer")
        shell.type("/exit")
        shell.wait_for_bytes(b"shell$ ", len(shell.sent))
    finally:
        shell.close()


def test_a_closed_window_ends_the_program_and_keeps_the_session(chat, tmp_path):
    terminal = chat()
    terminal.type("What is 3 plus 4?")
    terminal.wait_for("tok/s")
    terminal.wait_for_prompt()
    worker_ids = _children(terminal.child.pid)
    terminal.child.ptyproc.fileobj.close()  # the window is gone; the system tells the program
    end = time.monotonic() + 30
    while any(_alive(pid) for pid in (terminal.child.pid, *worker_ids)):
        assert time.monotonic() < end
        time.sleep(0.05)
    sessions = [path for path in (tmp_path / "sessions").rglob("*") if path.is_file()]
    assert any("3 plus 4 is 7." in path.read_text(encoding="utf-8") for path in sessions)


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:  # noqa: PTH123
        return [int(word) for word in file.read().split()]


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_is_typed_ahead_is_the_next_question(chat):
    terminal = chat(*ENDLESS, "--max-tokens", "300")
    begin_reply(terminal)
    terminal.child.send("/stats\r")
    terminal.wait_for("1 answer, 300 tokens")


def test_no_colour_and_a_terminal_that_is_only_a_printer(chat):
    terminal = chat(env={"NO_COLOR": "1", "TERM": "dumb"})
    terminal.type("What is 3 plus 4?")
    terminal.wait_for("tok/s")
    assert b"\x1b" not in terminal.sent
    terminal.type("/exit")
    assert terminal.finish() == 0


def test_no_colour_on_a_screen_uses_no_styles(chat):
    terminal = chat(env={"NO_COLOR": "1"})
    terminal.type("**What** is 3 plus 4?")
    terminal.wait_for("tok/s")
    terminal.wait_for_prompt()
    assert b"\x1b[2m" not in terminal.sent
    assert b"\x1b[1m" not in terminal.sent
