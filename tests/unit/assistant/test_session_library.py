"""Sessions are begun, found, listed, searched and removed by name."""

import os

import pytest

from phi4local.errors import InvalidSettingError, UnknownSessionError


@pytest.fixture
def three(library, talk):
    """Three sessions, `old`, `middle`, `young`, changed in this order."""
    for age, (name, question) in enumerate(
        {"old": "Where is it warm in May?", "middle": "Straße \x1b[2J or\nstreet?", "young": "Hi"}.items()
    ):
        with library.create(name, model="phi-4:Q4_K_M", system="Answer in May.") as session:
            talk(session, question, "In Sicily, I MAY say: warm.")
            talk(session, "And then?", "No idea. " + 30 * "filler " + "needle " + 30 * "filler ")
        os.utime(session.path, (10**9 + age, 10**9 + age))
    return library


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            " ",
            ".",
            "..",
            "../x",
            "a/b",
            "/etc/x",
            "a\\b",
            "C:x",
            ".hidden",
            "-rf",
            "nul",
            "COM1",
            "a\0b",
        ),
        *(
            "a\x1b[2Jb",
            "a\nb",
            "tab\there",
            "what?",
            "a*b",
            'a"b',
            "<a>",
            "a|b",
            "a:b",
            "x" * 81,
            "\u202eabc",
        ),
    ],
)
def test_what_is_no_file_name_on_some_system_is_refused(library, name):
    with pytest.raises(InvalidSettingError) as refused:
        library.create(name)
    assert "letters" in refused.value.hint
    assert "\x1b" not in str(refused.value)
    assert not library.folder.exists() or list(library.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["trip", "my trip", "Größe", "日本", "a.b-c_d 2", "x" * 80, "lock"])
def test_other_names_are_taken(library, talk, name):
    with library.create(name) as session:
        talk(session, "Hi", "Hello!")
    assert [summary.name for summary in library.list()] == [name]
    library.open(f"{name}").close()


def test_a_name_is_there_once_in_whatever_letters_it_is_written(library, talk):
    with library.create("Größe") as session:
        talk(session, "Hi", "Hello!")
    for name in ("größe", "GRÖSSE", "Gro\u0308ße"):
        with pytest.raises(InvalidSettingError, match="`Größe`, which exists"):
            library.create(name)
    with library.open("grösse") as found, pytest.raises(InvalidSettingError):
        found.fork("GRÖßE")


def test_sessions_are_listed_the_last_one_first(three):
    found = three.list()
    assert [(one.name, one.turns, one.model) for one in found] == [
        (name, 2, "phi-4:Q4_K_M") for name in ("young", "middle", "old")
    ]
    assert found[0].changed == "2001-09-09T01:46:42Z"
    assert found[2].first_words == "Where is it warm in May?"
    assert found[1].first_words == "Straße \x1b[2J or street?"


def test_the_latest_is_the_one_in_which_something_was_said_last(three):
    with three.create("empty"):
        assert three.latest().name == "young"
    with three.open("old") as session:
        session.add_user("more")
    assert three.latest().name == "old"


def test_nothing_kept_is_no_error(library):
    assert (library.list(), library.latest(), library.search("x")) == ((), None, ())
    assert not library.folder.exists()


def test_a_session_is_found_by_its_id_too(three):
    number = three.read("old").id
    assert three.read(number).name == "old"
    three.open(number).close()


def test_near_names_are_suggested(three):
    with pytest.raises(UnknownSessionError) as unknown:
        three.open("yuong")
    assert unknown.value.hint == "there is `young`"
    with pytest.raises(UnknownSessionError) as unknown:
        three.read("20990101T000000-0000")
    assert "sessions list" in unknown.value.hint


def test_an_id_that_two_files_have_is_not_guessed(three):
    path = three.folder / "old.jsonl"
    (three.folder / "copy.jsonl").write_bytes(path.read_bytes())
    with pytest.raises(UnknownSessionError) as unknown:
        three.open(three.read("old").id)
    assert unknown.value.hint == "there is `copy` or `old`"


def test_messages_with_every_word_are_found(three):
    assert [(hit.session, hit.turn, hit.excerpt) for hit in three.search("warm MAY")] == [
        (name, turn, words)
        for name in ("young", "middle", "old")
        for turn, words in [
            *([(1, "Where is it warm in May?")] if name == "old" else []),
            (1, "In Sicily, I MAY say: warm."),
        ]
    ]
    assert {hit.turn for hit in three.search("answer")} == {0}
    assert three.search("warm nonsense") == ()
    assert three.search(" ") == ()
    assert three.search("(.*") == ()


def test_an_excerpt_is_short_and_on_one_line(three):
    excerpt = three.search("needle")[0].excerpt
    assert excerpt.startswith("…")
    assert excerpt.endswith("…")
    assert "filler needle filler" in excerpt
    assert len(excerpt) <= 2 + 2 * 40 + len("needle")
    assert three.search("straße")[0].excerpt == "Straße \x1b[2J or street?"


def test_what_was_taken_back_is_not_found(library, talk):
    with library.create("trip") as session:
        talk(session, "secret", "word")
        session.undo()
        talk(session, "Hi", "Hello!")
    assert library.search("secret") == ()


def test_a_removed_session_takes_its_snapshot_with_it(three):
    with three.open("old") as session:
        session.snapshot_path.write_bytes(b"cache")
    assert three.remove("OLD") == "old"
    assert sorted(path.name for path in three.folder.iterdir()) == ["middle.jsonl", "young.jsonl"]
    with pytest.raises(UnknownSessionError):
        three.remove("old")
