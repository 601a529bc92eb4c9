"""`phi4local chat` writes conversations down as they happen; SIGKILL takes at most the turn in progress."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from phi4local.assistant.sessions.library import SessionLibrary

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("native_library")
QUESTIONS = [f"Tell me a story about {number} foxes." for number in range(2, 14)]
FEW, MANY = 3, 20


def test_a_named_session_is_kept_through_a_pipe_and_gone_on_with(run_cli, phi4local_home: Path) -> None:
    first = run_cli(["chat", "phi4-nano", "--session", "sums"], input="What is 3 plus 4?\n")
    again = run_cli(["chat", "phi4-nano", "--session", "sums"], input="Why is the sky blue?\n")
    assert (first.returncode, again.returncode) == (0, 0)
    library = SessionLibrary(phi4local_home / "sessions")
    transcript = library.read("sums")
    answers = [said for said in transcript.said if said.message.role == "assistant"]
    assert [message.content for message in transcript.messages if message.role == "user"] == [
        "What is 3 plus 4?",
        "Why is the sky blue?",
    ]
    assert "".join(f"{said.message.content}\n" for said in answers) == first.stdout + again.stdout
    assert [said.reason for said in answers] == ["stop", "stop"]
    assert all(said.tokens for said in answers)
    assert transcript.model
    library.remove("sums")


def test_an_instruction_of_the_command_line_replaces_the_sessions(run_cli, phi4local_home: Path) -> None:
    library = SessionLibrary(phi4local_home / "sessions")
    with library.create("told", model="phi4-nano", system="Be a fox.") as session:
        session.add_user("Hi")
        session.add_answer("Hello!", reason="stop", tokens=2)
    done = run_cli(["chat", "phi4-nano", "--session", "told", "--system", "Be an owl."], input="")
    assert done.returncode == 0
    assert "`--system` takes the place of the session's instruction" in done.stderr
    assert [message.content for message in library.read("told").messages] == ["Be an owl.", "Hi", "Hello!"]
    library.remove("told")


def test_nothing_is_kept_of_a_pipe_without_a_name(run_cli, tmp_path: Path, phi4local_home: Path) -> None:
    before = set((phi4local_home / "sessions").glob("*"))
    assert run_cli(["chat", "phi4-nano"], input="What is 3 plus 4?\n").returncode == 0
    assert run_cli(["chat", "phi4-nano", "--session", "unsaid"], input="").returncode == 0
    assert set((phi4local_home / "sessions").glob("*")) == before


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
@pytest.mark.parametrize(
    "moment", [*range(FEW), *(pytest.param(number, marks=pytest.mark.full) for number in range(FEW, MANY))]
)
def test_a_killed_chat_loses_at_most_its_turn(moment: int, phi4local_home: Path) -> None:
    name = f"killed {moment}"
    arguments = ["chat", "phi4-nano", "--session", name, "--temperature", "1", "--seed", str(moment)]
    with subprocess.Popen(
        [sys.executable, "-m", "phi4local", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.write(process.stdin.fileno(), "".join(f"{question}\n" for question in QUESTIONS).encode())
        process.stdin.close()
        shown = process.stdout.read(random.Random(moment).randrange(1, 2500))
        process.kill()
        shown += process.stdout.read()
    library = SessionLibrary(phi4local_home / "sessions")
    with library.open(name) as session:
        said = [message.content for message in session.messages]
        asked, answered = said[::2], said[1::2]
        assert asked == QUESTIONS[: len(asked)]
        assert len(answered) == len(asked)
        kept = "".join(f"{answer}\n" for answer in answered).encode()
        if shown.startswith(kept) and shown != kept:  # an answer was on its way
            assert session.unanswered == QUESTIONS[len(asked)]
        else:  # the last answer was written down before all of it was shown
            assert kept.startswith(shown)
        assert len(session.skipped) <= 1
    library.remove(name)
