"""A session: every event is a line of its file, and the file tells the conversation again."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.errors import (
    FileWriteError,
    InvalidSettingError,
    SessionBusyError,
    SessionError,
    TextTooLongError,
)
from phi4local.messages import Message

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX modes and devices")


def contents(session):
    return [(message.role, message.content) for message in session.messages]


def test_what_happens_is_a_line_each_at_once(library, events, talk):
    with library.create("trip", model="phi-4:Q4_K_M", digest="d1", system="Be kind.") as session:
        talk(session, "Hi", "Hello!", thought="They greet me.")
        session.set_system(None)
        session.note("settings", temperature=0.2)
        session.set_model("phi-4:Q8_0", "d2")
        session.undo()
        session.clear()
        found = events(session.path)
    times = [event.pop("at") for event in found]
    assert all(len(time) == len("2026-01-31T12:00:00Z") for time in times)
    assert len(found[0].pop("id")) == len("20260131T120000-1f2e")
    assert found == [
        {"event": "session", "format": 1, "model": "phi-4:Q4_K_M", "digest": "d1", "system": "Be kind."},
        {"event": "user", "text": "Hi"},
        {
            "event": "assistant",
            "text": "Hello!",
            "reason": "stop",
            "tokens": 3,
            "thought": "They greet me.",
        },
        {"event": "system", "text": None},
        {"event": "note", "kind": "settings", "facts": {"temperature": 0.2}},
        {"event": "model", "name": "phi-4:Q8_0", "digest": "d2"},
        {"event": "undo"},
        {"event": "clear"},
    ]


def test_a_session_goes_on_where_it_was(library, talk):
    with library.create("trip", model="a", system="Be kind.") as session:
        talk(session, "one", "1")
        talk(session, "two", "2")
        session.undo()
        talk(session, "three", "3", reason="cancelled", tokens=1, thought="hm")
        session.set_system("Be brief.")
        session.set_model("b")
    expected = [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "1"),
        ("user", "three"),
        ("assistant", "3"),
    ]
    assert contents(session) == expected
    with library.open("trip") as again:
        assert contents(again) == expected
        assert again.skipped == ()
        assert again.unanswered is None
        assert again.transcript.model == "b"
        last = again.transcript.said[-1]
        assert (last.reason, last.tokens, last.thought) == ("cancelled", 1, "hm")
        again.clear()
        assert contents(again) == [("system", "Be brief.")]


@pytest.mark.parametrize("then", ["ask", "undo"])
def test_a_question_whose_answer_was_lost_is_given_back_once(library, talk, then):
    with library.create("trip") as session:
        talk(session, "one", "1")
        session.add_user("lost")
    with library.open("trip") as session:
        assert session.unanswered == "lost"
        assert contents(session) == [("user", "one"), ("assistant", "1")]
        talk(session, "two", "2") if then == "ask" else session.undo()
        expected = contents(session)
    with library.open("trip") as session:
        assert contents(session) == expected
        assert expected == (
            [("user", "one"), ("assistant", "1"), ("user", "two"), ("assistant", "2")]
            if then == "ask"
            else []
        )
        assert session.skipped == ()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\0b\x1b[2J\x7f\x9b\u202e\r\nc", None),
        ("\u2028\u2029\ufeff🦊 e\u0301 \U0010ffff", None),
        ('"}\n{"event": "clear"}\n', None),
        ("", None),
        ("half \ud83d pair", "half \ufffd pair"),
        ("two halves \ud83e\udd8a", "two halves 🦊"),
    ],
)
def test_any_text_comes_back(library, talk, text, kept):
    expected = text if kept is None else kept
    with library.create("odd", system=text or None) as session:
        talk(session, text, text, thought=text)
        assert session.messages[-1].content == expected
    transcript = library.read("odd")
    assert [said.message.content for said in transcript.said] == [expected] * 2
    assert transcript.said[1].thought == expected
    assert (transcript.system or "") == expected
    assert transcript.skipped == []


def test_every_prefix_of_a_file_tells_its_whole_lines_and_can_be_gone_on_with(library, talk, events):
    with library.create("whole", model="m") as session:
        for number in range(3):
            talk(session, f"question {number} ü🦊", f"answer {number}")
        data = session.path.read_bytes()
    lines = data.splitlines(keepends=True)
    ends = [sum(map(len, lines[: count + 1])) for count in range(len(lines))]
    texts = [event["text"] for event in events(session.path) if "text" in event]
    for size in range(ends[0] + 1, len(data) + 1):
        path = session.path.with_name("cut.jsonl")
        path.write_bytes(data[:size])
        # A line that lacks nothing but its line feed is whole.
        whole = sum(end - 1 <= size for end in ends) - 1
        transcript = library.read("cut")
        assert [said.message.content for said in transcript.said] == texts[:whole]
        assert len(transcript.skipped) == (size not in ends and size + 1 not in ends)
        with library.open("cut") as cut:
            answered = contents(cut)
            assert len(answered) == whole - whole % 2
            talk(cut, "and", "on")
        with library.open("cut") as cut:
            assert contents(cut) == [*answered, ("user", "and"), ("assistant", "on")]


def test_two_cannot_write_to_one_session(library, run_cli, home, talk):
    with library.create("trip") as session:
        talk(session, "Hi", "Hello!")
        with pytest.raises(SessionBusyError) as busy:
            library.open("trip")
        assert "--session NAME" in busy.value.hint
        assert library.read("trip").turns == 1
        with library.fork("trip", "copy") as copy:
            assert contents(copy) == contents(session)
        done = run_cli(["sessions", "rm", "trip"], env={"PHI4LOCAL_HOME": str(home)})
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[0] == "error: the session `trip` is open in another window"
    library.open("trip").close()


def test_a_fork_goes_its_own_way_and_says_where_it_is_from(library, talk, events):
    with library.create("trip", model="m", digest="d", system="Be kind.") as session:
        talk(session, "one", "1", thought="hm")
        talk(session, "two", "2")
        session.undo()
        with session.fork("other") as fork:
            talk(fork, "three", "3")
            talk(session, "four", "4")
            assert contents(fork)[-2:] == [("user", "three"), ("assistant", "3")]
            assert contents(session)[-2:] == [("user", "four"), ("assistant", "4")]
            first, *rest = events(fork.path)
        assert first["forked_from"] == {"id": session.transcript.id, "turns": 1}
        assert first["id"] != session.transcript.id
        assert (first["model"], first["digest"], first["system"]) == ("m", "d", "Be kind.")
        assert [(event["event"], event["text"]) for event in rest[:2]] == [
            ("user", "one"),
            ("assistant", "1"),
        ]
        assert rest[1]["thought"] == "hm"


def test_a_renamed_session_keeps_its_id_its_lock_and_its_snapshot(library, talk):
    session = library.create("old")
    session.snapshot_path.write_bytes(b"cache")
    session.rename("new")
    talk(session, "Hi", "Hello!")
    with pytest.raises(SessionBusyError):
        library.open("new")
    number = session.transcript.id
    session.close()
    assert [path.name for path in sorted(library.folder.iterdir())] == ["new.jsonl", "new.kv"]
    with library.open(number) as again:
        assert (again.name, again.transcript.name, again.transcript.turns) == ("new", "new", 1)
        again.rename("NEW")  # the same name in other letters is free for its owner
        assert [summary.name for summary in library.list()] == ["NEW"]


def test_a_new_session_in_which_nothing_was_said_leaves_no_file(library, talk):
    library.create("empty").close()
    with library.create("cleared") as session:
        talk(session, "Hi", "Hello!")
        session.clear()
    assert [path.name for path in library.folder.iterdir()] == ["cleared.jsonl"]
    library.open("cleared").close()
    assert [path.name for path in library.folder.iterdir()] == ["cleared.jsonl"]


@posix
def test_files_and_folder_are_their_owners_alone(library, talk):
    before = os.umask(0)
    try:
        with library.create("trip") as session:
            talk(session, "Hi", "Hello!")
            session.fork("copy").close()
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in library.folder.iterdir()}
    assert modes == {"trip.jsonl": 0o600, "copy.jsonl": 0o600}
    assert stat.S_IMODE(library.folder.stat().st_mode) == 0o700


def test_a_text_that_could_not_be_read_again_is_refused(library, talk):
    with library.create("trip") as session:
        talk(session, "Hi", "Hello!")
        before = session.path.read_bytes()
        with pytest.raises(TextTooLongError, match="takes 16,777"):
            session.add_user("x" * 2**24)
        with pytest.raises(InvalidSettingError, match="`note` cannot be kept"):
            session.note("settings", temperature=float("nan"))
        assert session.path.read_bytes() == before
        assert len(session.messages) == 2


def test_a_closed_session_is_refused(library, talk):
    session = library.create("trip")
    talk(session, "Hi", "Hello!")
    session.close()
    session.close()
    with pytest.raises(SessionError, match="is closed"):
        session.add_user("more")


@posix
def test_a_full_disk_is_one_line_and_what_fits_again_is_whole(library, tmp_path):
    """A limit on the size of files stands in for a full disk: the write stops in the middle of a line."""
    program = """
import resource, signal, sys
from phi4local.assistant.sessions.library import SessionLibrary
from phi4local.errors import FileWriteError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with SessionLibrary().create("full") as session:
    session.add_user("one")
    session.add_answer("1", reason="stop", tokens=1)
    size = session.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
    try:
        session.add_user("two")
    except FileWriteError as error:
        print(error)
    assert len(session.messages) == 2
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    session.add_user("three")
    session.add_answer("3", reason="stop", tokens=1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cannot write `")
    transcript = library.read("full")
    assert [said.message.content for said in transcript.said] == ["one", "1", "three", "3"]
    assert transcript.skipped == ["line 4 is damaged"]


def test_a_file_where_the_folder_should_be_is_one_line(library):
    library.folder.parent.mkdir()
    library.folder.write_bytes(b"")
    with pytest.raises(FileWriteError, match="cannot write"):
        library.create("trip")
    with pytest.raises(SessionError, match="cannot be read"):
        library.list()


def test_many_processes_cannot_give_the_same_name(library):
    def create(number):
        try:
            return SessionLibrary().create("TRIP" if number % 2 else "trip", model=str(number))
        except InvalidSettingError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(16)))
    sessions = [one for one in made if not isinstance(one, str)]
    assert len(sessions) == 1
    assert len(list(library.folder.glob("*.jsonl"))) == 1
    for session in sessions:
        session.close()


def test_messages_are_messages(library, talk):
    with library.create() as session:
        talk(session, "Hi", "Hello!")
        assert session.messages == [Message("user", "Hi"), Message("assistant", "Hello!")]
        assert session.name == session.transcript.id
