"""SIGKILL while turns are written: at most the turn in progress is lost, and the conversation goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from phi4local.assistant.sessions.library import SessionLibrary

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
FEW, MANY = 6, 20


@pytest.mark.parametrize(
    "moment", [*range(FEW), *(pytest.param(number, marks=pytest.mark.full) for number in range(FEW, MANY))]
)
def test_a_killed_process_loses_at_most_its_turn(moment: int, tmp_path: Path) -> None:
    chance = random.Random(moment)
    # Long answers, so that the kill comes in the middle of a line; short ones, so that it comes between two.
    size = chance.choice((10, 200_000, 4_000_000))
    arguments = [sys.executable, "-m", "tests.hostile.session_writer", str(tmp_path), str(size)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        said = b"".join(process.stdout.readline() for _ in range(chance.randrange(1, 12)))
        for _ in range(chance.randrange(200_000)):
            pass  # the moment within a turn is the case
        process.kill()
        said += process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    done = said.count(b"\n")
    turns = [("system", "Be kind.")]
    for number in range(done + 1):
        turns += [("user", f"question {number}"), ("assistant", f"answer {number} {size * 'x'}")]
    with SessionLibrary(tmp_path).open("trip") as session:
        found = [(message.role, message.content) for message in session.messages]
        # The turn in progress may have been whole already.
        assert found in (turns[:-2], turns)
        assert len(session.skipped) <= 1
        session.add_user("still there?")
        session.add_answer("yes", reason="stop", tokens=1)
    with SessionLibrary(tmp_path).open("trip") as session:
        again = [(message.role, message.content) for message in session.messages]
        assert again == [*found, ("user", "still there?"), ("assistant", "yes")]
