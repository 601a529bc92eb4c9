"""How a finding looks at 80 and at 120 columns."""

import pytest

from phi4local.cli.doctor import lines
from phi4local.doctor import Result

COMMAND = (
    "CMAKE_ARGS=-DGGML_CUDA=on /home/somebody/with/a/long/path/.venv/bin/python -m phi4local.native.build"
)
LONG = Result(name="GPU", state="warning", seen="word " * 60, advice="do this", command=COMMAND)


@pytest.mark.parametrize("columns", [80, 120])
def test_lines_fit_and_commands_are_whole(columns):
    *text, command = lines(LONG, columns)
    assert len(text) > 2
    assert max(map(len, text)) < columns
    assert all(line.startswith(" " * 27) for line in text[1:])
    assert command.strip() == f"$ {COMMAND}"


def test_a_path_is_not_broken():
    path = "/" + "folder-with-hyphens/" * 8
    text = list(lines(Result(name="disk", state="wrong", seen=f"{path} is full"), 80))
    assert any(path in line for line in text)


def test_text_of_others_cannot_steer_the_terminal():
    hostile = Result(name="GPU", state="ok", seen="\x1b[2J\nNVIDIA", command="\x1b[2J")
    assert not any("\x1b" in line for line in lines(hostile, 80))


def test_colour_marks_the_state_only():
    (plain,), (coloured,) = (
        list(lines(Result(name="disk", state="wrong", seen="full"), 80, colours=c)) for c in (False, True)
    )
    assert coloured == plain.replace("WRONG", "\x1b[1;31mWRONG\x1b[0m")
