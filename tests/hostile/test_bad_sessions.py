"""Files that are no whole session: what is whole is loaded, what is not is said, no other error is raised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from phi4local.assistant.sessions.export import EXPORTS
from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.assistant.sessions.record import MOST_LINE_BYTES
from phi4local.errors import FileWriteError, SessionError

if TYPE_CHECKING:
    from pathlib import Path

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")


def line(event: str, **facts: object) -> bytes:
    return json.dumps({"event": event, **facts}).encode() + b"\n"


HEAD = line("session", format=1, id="20260131T120000-1f2e", at="2026-01-31T12:00:00Z", model="m")
ANSWER = line("assistant", text="1", reason="stop", tokens=1)
ONE = line("user", text="one") + ANSWER
TWO = line("user", text="two") + line("assistant", text="2")
NO_ID = "the first line is missing: no id"
BOTH = ["one", "1", "two", "2"]


@dataclass(frozen=True)
class Case:
    """A file, what it tells, parts of the lines that are said about it, and whether one can go on with it."""

    data: bytes
    told: list[str]
    said: tuple[str, ...] = ()
    goes_on: bool = True


def after_one(data: bytes, *said: str, told: list[str] = BOTH) -> Case:
    return Case(HEAD + ONE + data + TWO, told, said)


CASES = {
    "half a line": Case(HEAD + ONE + TWO[:30], ["one", "1"], ("line 4 was not written to its end",)),
    "half the first line": Case(HEAD[:30], [], ("line 1 was not", NO_ID), goes_on=False),
    "half a character": Case(HEAD + ONE + b'{"event": "user", "text": "\xc3', ["one", "1"], ("line 4",)),
    "no line feed at the end": Case((HEAD + ONE + TWO).removesuffix(b"\n"), BOTH),
    "a torn line in the middle": after_one(b'{"event": "us\n', "line 4 is damaged"),
    "lost answer": Case(HEAD + line("user", text="x") + ONE, ["one", "1"], ("line 3 follows a question",)),
    "lost question": after_one(line("assistant", text="x"), "line 4 is an answer without"),
    "NUL bytes": after_one(bytes(4096) + b"\n", "line 4 is damaged"),
    "only NUL bytes": Case(bytes(8192), [], ("line 1 was not", NO_ID), goes_on=False),
    "a NUL byte in a text": after_one(b'{"event": "user", "text": "a\0b"}\n', "line 4 is damaged"),
    "an escape byte": after_one(b"\x1b[2J\x1b]0;title\x07\n", "line 4 is damaged"),
    "escape in a text": Case(HEAD + line("user", text="\x1b[2J") + ANSWER, ["\x1b[2J", "1"]),
    "newer version": Case(
        line("session", format=2, id="x") + ONE + line("tool", call="f") + TWO,
        BOTH,
        ("line 1 says that a newer phi4local", "line 4 is of a kind"),
        goes_on=False,
    ),
    "unknown event": after_one(line("tool"), "line 4 is of a kind that this phi4local does not know: 'tool'"),
    "unknown event in letters": after_one(line("\x1b" + 9999 * "x"), "line 4 is of a kind"),
    "another model": after_one(line("model", name="another", digest=7)),
    "no JSON": after_one(b"one two three\n", "line 4 is damaged"),
    "another file": Case(b"# Notes\n\nBuy milk.\n", [], ("line 1", "line 3", NO_ID), goes_on=False),
    "binary": Case(b"GGUF\3\0\0\0" + bytes(range(256)), [], ("line 1", "line 2", NO_ID), goes_on=False),
    "empty": Case(b"", [], ("the file is empty",)),
    "only line feeds": Case(b"\n\n\n", [], (NO_ID,), goes_on=False),
    "a list": after_one(b"[1, 2]\n", "line 4 is damaged: no JSON object"),
    "a number of 9,999 digits": after_one(b"9" * 9999 + b"\n", "line 4 is damaged"),
    "deep": after_one(b'{"event":' + b"[" * 200_000 + b"\n", "line 4 is damaged"),
    "no event": after_one(b"{}\n", "line 4 is of a kind"),
    "an event that is a list": after_one(b'{"event": ["user"]}\n', "line 4 is of a kind"),
    "wrong types": after_one(
        line("user", text=7) + line("system") + line("note", kind=None) + line("model", name=[]),
        "line 4 is damaged: `text` of a `user`",
        "line 5 is damaged: `text`",
        "line 6 is damaged: `kind`",
        "line 7 is damaged: `name`",
    ),
    "wrong types beside the text": Case(
        HEAD + line("user", text="one", at=[]) + line("assistant", text="1", tokens="x", reason={}),
        ["one", "1"],
    ),
    "NaN": Case(HEAD + b'{"event": "user", "text": "one", "at": NaN}\n' + ANSWER, ["one", "1"]),
    "wrong first line": Case(
        line("session", format="1", id=None) + ONE, ["one", "1"], ("line 1 is damaged: `format`", NO_ID)
    ),
    "no first line": Case(ONE, ["one", "1"], (NO_ID,)),
    "two first lines": after_one(HEAD, "line 4 is a second beginning"),
    "byte order mark": Case(b"\xef\xbb\xbf" + HEAD + ONE + TWO, BOTH),
    "UTF-16": Case((HEAD + ONE).decode().encode("utf-16"), [], (*4 * ("line",), NO_ID), goes_on=False),
    "Latin-1": after_one(b'{"event": "user", "text": "gr\xfc\xdfe"}\n', "line 4 is damaged"),
    "lines end as on Windows": Case((HEAD + ONE + TWO).replace(b"\n", b"\r\n"), BOTH),
    "half a surrogate pair": Case(HEAD + line("user", text="a\ud83d") + ANSWER, ["a\ufffd", "1"]),
    "undo too often": after_one(3 * line("undo"), "line 5 takes", "line 6 takes", told=["two", "2"]),
    "a huge line": after_one(line("user", text="x" * MOST_LINE_BYTES), "line 4 is longer than"),
    "a huge line without end": Case(HEAD + ONE + b"x" * (MOST_LINE_BYTES + 9), ["one", "1"], ("line 4",)),
    "many bad lines": Case(HEAD + ONE + 1000 * b"x\n", ["one", "1"], ("line 4", *19 * ("line",), "980 more")),
}  # fmt: skip


@pytest.fixture
def library(tmp_path: Path) -> SessionLibrary:
    """An empty folder of sessions."""
    (tmp_path / "sessions").mkdir()
    return SessionLibrary(tmp_path / "sessions")


def told(library: SessionLibrary, name: str) -> list[str]:
    return [said.message.content for said in library.read(name).said]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_whole_is_loaded_and_the_rest_is_said(case: Case, library: SessionLibrary) -> None:
    path = library.folder / "bad.jsonl"
    path.write_bytes(case.data)
    transcript = library.read("bad")
    assert [said.message.content for said in transcript.said] == case.told
    assert len(transcript.skipped) == len(case.said)
    assert all(part in remark for part, remark in zip(case.said, transcript.skipped, strict=True))
    assert "\x1b" not in "".join(transcript.skipped)
    for export in EXPORTS.values():
        export(transcript).encode()
    assert [summary.turns for summary in library.list()] == [len(case.told) // 2]
    library.search("one")
    if not case.goes_on:
        with pytest.raises(SessionError):
            library.open("bad")
        assert path.read_bytes() == case.data
        assert library.remove("bad") == "bad"
        return
    with library.open("bad") as session:
        assert len(session.skipped) == len(case.said)
        session.add_user("on")
        session.add_answer("and on", reason="stop", tokens=2)
    assert told(library, "bad") == [*case.told, "on", "and on"]
    assert path.read_bytes().startswith(case.data)


def test_there_are_thirty_cases() -> None:
    assert len(CASES) >= 30


def test_a_hundred_thousand_turns_come_back(library: SessionLibrary) -> None:
    path = library.folder / "long.jsonl"
    turn = b'{"event":"user","text":"%d"}\n{"event":"assistant","text":"ok"}\n'
    path.write_bytes(HEAD + b"".join(turn % number for number in range(100_000)))
    with library.open("long") as session:
        assert session.transcript.turns == 100_000
        assert session.messages[-2].content == "99999"
        session.undo()
        assert session.messages[-2].content == "99998"


def test_a_file_of_a_gigabyte_is_refused_unread(library: SessionLibrary) -> None:
    with (library.folder / "large.jsonl").open("wb") as file:
        file.truncate(2**30)
    for use in (library.read, library.open):
        with pytest.raises(SessionError, match="1,073,741,824 bytes"):
            use("large")
    assert library.list() == ()
    assert library.remove("large") == "large"


@posix
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "link to nothing", "link to itself"])
def test_what_is_no_file_is_refused_and_does_not_hang(library: SessionLibrary, kind: str) -> None:
    path = library.folder / "odd.jsonl"
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "link to nothing": lambda: path.symlink_to(library.folder / "nothing"),
        "link to itself": lambda: path.symlink_to(path),
    }[kind]()
    remarks: list[str] = []
    library = SessionLibrary(library.folder, report=remarks.append)
    for use in (library.read, library.open):
        with pytest.raises((SessionError, FileWriteError)):
            use("odd")
    assert (library.list(), library.search("x"), library.latest()) == ((), (), None)
    assert len(remarks) == 3
    assert "odd.jsonl" in remarks[0]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="needs another user")
def test_a_file_that_may_not_be_read_is_said(open_folder: Path) -> None:
    """A process of another user, because root may read everything."""
    folder = open_folder / "sessions"
    folder.mkdir(mode=0o755)
    (folder / "secret.jsonl").write_bytes(HEAD + ONE)
    (folder / "secret.jsonl").chmod(0)
    (folder / "open.jsonl").write_bytes(HEAD + TWO)
    program = f"""
import os
from pathlib import Path
from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.errors import Phi4LocalError
os.setuid(65534)
library = SessionLibrary(Path({str(folder)!r}), report=print)
print([one.name for one in library.list()])
for name in ("secret", "open"):
    try:
        library.open(name)
    except Phi4LocalError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    remark, names, *refused = done.stdout.splitlines()
    assert remark == f"`{folder / 'secret.jsonl'}`: cannot be read: permission denied"
    assert names == "['open']"
    assert [line.rpartition(": ")[2] for line in refused] == ["permission denied"] * 2
