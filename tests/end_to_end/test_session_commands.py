"""`phi4local sessions` as a person types it."""

import json

import pytest

from phi4local.assistant.sessions.library import SessionLibrary


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home with two sessions; what they say would steer a terminal, and one file is damaged."""
    home = tmp_path_factory.mktemp("home")
    library = SessionLibrary(home / "sessions")
    for name in ("trip", "code"):
        with library.create(name, model="phi-4:Q4_K_M") as session:
            session.add_user(f"About my {name}?\x1b[2J\x7f")
            session.add_answer("Sicily \x9b is **warm**.", reason="stop", tokens=4)
    with (library.folder / "code.jsonl").open("ab") as file:
        file.write(b'{"event": "user", "te')
    return home


@pytest.fixture
def sessions(run_cli, home):
    """`sessions("list")`: what the command says; no control character is ever among it."""

    def run(*arguments, code=0):
        done = run_cli(["sessions", *arguments], env={"PHI4LOCAL_HOME": str(home)})
        assert done.returncode == code, done.stderr
        assert not {chr(number) for number in (0x1B, 0x7F, 0x9B)} & set(done.stdout + done.stderr)
        return done

    return run


def test_what_was_kept_is_listed(sessions):
    rows = [line.split() for line in sessions("list").stdout.splitlines()]
    assert {row[0]: row[3:5] for row in rows if row and row[0] in ("trip", "code")} == {
        "trip": ["1", "phi-4:Q4_K_M"],
        "code": ["1", "phi-4:Q4_K_M"],
    }
    found = json.loads(sessions("list", "--json").stdout)
    assert {one["name"]: one["first_words"] for one in found}["trip"] == "About my trip?\x1b[2J\x7f"


def test_a_conversation_is_printed_and_what_is_damaged_is_said(sessions):
    done = sessions("show", "code")
    assert "Sicily \\x9b is **warm**." in done.stdout.splitlines()
    assert done.stderr == "code: line 4 was not written to its end\n"
    found = json.loads(sessions("show", "trip", "--json").stdout)
    assert found["messages"][1]["content"] == "Sicily \x9b is **warm**."


def test_messages_are_searched(sessions):
    assert sessions("search", "MY trip").stdout == "trip, turn 1: About my trip?\\x1b[2J\\x7f\n"
    hits = json.loads(sessions("search", "sicily", "--json").stdout)
    assert sorted((hit["session"], hit["turn"]) for hit in hits) == [("code", 1), ("trip", 1)]
    nothing = sessions("search", "nonsense")
    assert (nothing.stdout, nothing.stderr) == ("", "nothing was found\n")


def test_a_conversation_is_written_to_a_file_once(sessions, tmp_path):
    page = tmp_path / "trip.html"
    sessions("export", "trip", "--to", "html", "-o", page)
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    refused = sessions("export", "trip", "--to", "json", "-o", page, code=1)
    assert refused.stderr.splitlines()[1] == "hint: add `--force` to replace it"
    sessions("export", "trip", "--to", "json", "-o", page, "--force")
    assert json.loads(page.read_text(encoding="utf-8"))["name"] == "trip"
    assert sessions("export", "trip").stdout.startswith("# trip\n")
    assert json.loads(sessions("export", "trip", "--to", "json").stdout)["name"] == "trip"
    sessions("export", "trip", "--to", "pdf", code=2)


def test_a_wrong_name_is_two_lines(sessions):
    for arguments in (["show", "tripp"], ["rm", "tripp"], ["export", "tripp"]):
        done = sessions(*arguments, code=1)
        assert done.stdout == ""
        assert done.stderr == "error: no session `tripp`: nothing is called so\nhint: there is `trip`\n"


def test_nothing_kept_is_said_and_makes_no_folder(run_cli, tmp_path):
    done = run_cli(["sessions", "list"], env={"PHI4LOCAL_HOME": str(tmp_path / "new")})
    assert (done.returncode, done.stdout) == (0, "")
    assert "nothing was kept yet" in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_removed_conversation_is_gone(sessions, home):
    SessionLibrary(home / "sessions").fork("trip", "second").close()
    assert sessions("rm", "second").stderr == "removed second\n"
    sessions("show", "second", code=1)
