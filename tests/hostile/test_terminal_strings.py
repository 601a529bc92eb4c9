"""No text of a model, a file, a file's name or a command line reaches the terminal as more than text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata

import pytest

from tests.conftest import CHECKOUT
from tests.hostile.terminal_strings import ESCAPES, MARKUP, STRINGS

pexpect = pytest.importorskip("pexpect")
WAYS = {"reply": 2, "metadata": 4, "file-name": 3, "error": 4}
"""How often each string is shown at least."""
REFUSED = ("holdsaNULbyte", "isnotUTF-8")
"""What is said of a file whose metadata have bytes that are no text."""
OWN_STYLE = re.compile(r"\x1b\[[0-9;]*m")
REORDERING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HIDING = re.compile("[\u2028\u2029\u206a-\u206f\ufff9-\ufffb\ud800-\udfff\U000e0001-\U000e0fff]")
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"


def program(sink: str, folder) -> list[str]:
    return ["-m", "tests.hostile.terminal_sinks", sink, str(folder)]


def on_terminal(sink: str, folder, columns: int) -> str:
    child = pexpect.spawn(
        sys.executable,
        program(sink, folder),
        cwd=str(CHECKOUT),
        env={**os.environ, "TERM": "xterm-256color"},
        dimensions=(50, columns),
        timeout=120,
    )
    shown = child.read()
    child.close()
    assert child.exitstatus == 0, shown[-2000:]
    return shown.decode("utf-8")  # strictly: half a character would be an error


def check_characters(shown: str, *, styled: bool) -> None:
    text = shown.replace("\r\n", "\n")
    text = OWN_STYLE.sub("", text) if styled else text
    control = {hex(ord(c)) for c in text if unicodedata.category(c) == "Cc"} - {"0x9", "0xa"}
    assert control == set()
    assert not set(text) & set(REORDERING)
    assert HIDING.findall(text.replace(ENGLAND, "")) == []


def is_inside(part: str, whole: str) -> bool:
    """Return whether the characters of `part` stand in `whole` in their order."""
    rest = iter(whole)
    return all(character in rest for character in part)


def is_text(data: bytes) -> bool:
    """Return whether a GGUF file may hold it."""
    return b"\0" not in data and data == data.decode("utf-8", "ignore").encode()


def readable(data: bytes, sink: str) -> str:
    """Return the characters of a string that a person must see whatever is done to the others."""
    if sink == "file-name":
        data = data.replace(b"/", b"_")
    text = data.decode("utf-8", "ignore")
    return "".join(c for c in text if unicodedata.category(c)[0] in "LNPS" and c not in REORDERING)


@pytest.mark.parametrize("columns", [40, 200])
@pytest.mark.parametrize("sink", WAYS)
def test_hostile_strings_on_a_terminal(sink, columns, tmp_path):
    shown = on_terminal(sink, tmp_path, columns)
    check_characters(shown, styled=sink != "reply")
    assert "Traceback" not in shown
    assert "internal error" not in shown
    flat = re.sub(r"[\s\u2500-\u257f]", "", OWN_STYLE.sub("", shown))  # without the frames of usage errors
    for number, data in enumerate(STRINGS):
        found = re.findall(rf"S{number:03}\((.*?)\)E{number:03}", flat)
        if sink == "metadata" and not is_text(data):
            assert len(re.findall(rf"/{number}.gguf`:`general.name`({'|'.join(REFUSED)})", flat)) == 3
            continue
        assert len(found) >= WAYS[sink], (number, data)
        for text in found:
            assert is_inside(readable(data, sink).replace(" ", ""), text), (number, data, text)


def test_a_pipe_gets_the_reply_as_it_is(tmp_path):
    done = subprocess.run(
        [sys.executable, *program("reply", tmp_path)], cwd=CHECKOUT, capture_output=True, check=True
    )
    assert done.stderr == b""
    expected = [b"S%03d(" % n + data + b")E%03d\n" % n for n, data in enumerate(STRINGS) for _ in range(2)]
    assert done.stdout == b"".join(expected).decode("utf-8", "replace").encode()


def test_there_are_as_many_strings_as_the_bar_says():
    assert (len(ESCAPES), len(MARKUP), len(set(STRINGS))) == (80, 40, 120)
